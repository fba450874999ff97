// What belay-pull needs to know of URLs, by libcurl's own parser, so that it and the transfer never
// disagree about which host is meant.
#pragma once

#include <kj/string.h>

namespace belay::snapshot {

// Scheme, host and port: who gets to see a request.
struct Origin {
  kj::String scheme;
  kj::String host;
  kj::String port;

  bool operator==(const Origin& other) const {
    return scheme == other.scheme && host == other.host && port == other.port;
  }

  // "host:port", for a person; the port is left out where the scheme implies it.
  kj::String name() const;
};

// The origin of an http or https URL. Throws a pull error INVALID for any other text, and for URLs
// with a user name in them.
Origin originOf(kj::StringPtr url);

// `text` percent-encoded, for use in a query or a form.
kj::String urlEncoded(kj::StringPtr text);

}  // namespace belay::snapshot
