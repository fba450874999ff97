// What PullImage's caller may show to a registry.
#pragma once

#include <kj/string.h>

#include "snapshot/pull.capnp.h"
#include "snapshot/reference.h"

namespace belay::snapshot {

// The CRI's AuthConfig, as it came; empty strings are unset.
struct RegistryCredentials {
  kj::String username;
  kj::String password;
  kj::String auth;  // base64 of "username:password"
  kj::String serverAddress;
  kj::String identityToken;
  kj::String registryToken;
};

// Chooses the one way that will be used, in this order: username and password, identityToken,
// registryToken, auth. All are ignored (anonymous) when serverAddress names another host than the
// reference's: a secret goes only where it belongs. Throws INVALID_ARGUMENT when auth is malformed;
// the sentence never holds the secret.
void chooseCredentials(const RegistryCredentials& given, const Reference& reference,
                       Credentials::Builder chosen);

}  // namespace belay::snapshot
