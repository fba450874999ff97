// See credentials.h.
#include "snapshot/credentials.h"

#include <kj/encoding.h>

#include "snapshot/failure.h"

namespace belay::snapshot {

namespace {

// Where the default registry's credentials are said to be for, in the files that people have.
bool isDefaultRegistry(kj::StringPtr host) {
  return host == "docker.io" || host == "index.docker.io" || host == "registry-1.docker.io";
}

// The host and port of "https://host:port/v1/" or "host:port".
kj::String hostOf(kj::StringPtr address) {
  kj::ArrayPtr<const char> rest = address.asArray();
  for (kj::StringPtr scheme : {"https://"_kj, "http://"_kj}) {
    if (address.startsWith(scheme)) rest = rest.slice(scheme.size(), rest.size());
  }
  size_t end = 0;
  while (end < rest.size() && rest[end] != '/')
    ++end;
  return kj::heapString(rest.slice(0, end));
}

bool isFor(kj::StringPtr serverAddress, kj::StringPtr registry) {
  if (serverAddress.size() == 0) return true;
  kj::String host = hostOf(serverAddress);
  return host == registry || (isDefaultRegistry(host) && isDefaultRegistry(registry));
}

void splitAuth(kj::StringPtr auth, Credentials::Builder chosen) {
  auto decoded = kj::decodeBase64(auth);
  // Files written by old clients pad with NUL bytes.
  size_t size = decoded.size();
  while (size > 0 && decoded[size - 1] == 0)
    --size;
  auto text = kj::heapString(decoded.slice(0, size).asChars());
  KJ_IF_MAYBE (colon, text.findFirst(':')) {
    if (!decoded.hadErrors) {
      auto basic = chosen.initBasic();
      basic.setUsername(kj::heapString(text.slice(0, *colon)));
      basic.setPassword(text.slice(*colon + 1));
      return;
    }
  }
  fail(Code::INVALID_ARGUMENT, "auth: its field auth is no base64 of \"username:password\"");
}

}  // namespace

void chooseCredentials(const RegistryCredentials& given, const Reference& reference,
                       Credentials::Builder chosen) {
  chosen.setAnonymous();
  if (!isFor(given.serverAddress, reference.registry)) return;
  if (given.username.size() > 0) {
    auto basic = chosen.initBasic();
    basic.setUsername(given.username);
    basic.setPassword(given.password);
  } else if (given.identityToken.size() > 0) {
    chosen.setIdentityToken(given.identityToken);
  } else if (given.registryToken.size() > 0) {
    chosen.setRegistryToken(given.registryToken);
  } else if (given.auth.size() > 0) {
    splitAuth(given.auth, chosen);
  }
}

}  // namespace belay::snapshot
