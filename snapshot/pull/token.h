// The token dance of registries: a 401 names a realm; the realm gives a token for a scope (Docker
// registry v2 authentication, "token" and "oauth"; OCI distribution-spec leaves it to them).
#pragma once

#include <kj/async.h>
#include <kj/string.h>

#include "snapshot/pull.capnp.h"
#include "snapshot/pull/challenge.h"
#include "snapshot/pull/http-client.h"

namespace belay::snapshot {

struct TokenQuestion {
  const TlsSettings& tls;
  Credentials::Reader credentials;
  kj::StringPtr defaultScope;  // where the challenge names none
  // Whether the registry itself is reached without TLS: then its realm may be too.
  enum class Transport { TLS, PLAIN } transport;
  kj::Duration dialTimeout;
  kj::Duration stallTimeout;
};

// Asks the realm of `challenge`, a Bearer challenge, for a token. With a user name it shows it by
// Basic authentication; with an identity token it trades that in by POST; else it asks as nobody.
// Throws a pull error UNAUTHORIZED when the realm refuses, and INVALID when it answers nonsense or
// when credentials would go over plain HTTP although the registry speaks TLS. References in
// `question` must live until the promise is done or dropped.
kj::Promise<kj::String> fetchToken(HttpClient& client, Challenge challenge, TokenQuestion question);

// The value of an Authorization header for Basic authentication.
kj::String basicAuthorization(kj::StringPtr username, kj::StringPtr password);

}  // namespace belay::snapshot
