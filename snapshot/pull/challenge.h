// The WWW-Authenticate header of a 401 answer (RFC 9110, section 11.6.1).
#pragma once

#include <kj/map.h>
#include <kj/string.h>
#include <kj/vector.h>

namespace belay::snapshot {

struct Challenge {
  kj::String scheme;                               // in lower case: "bearer", "basic"
  kj::HashMap<kj::String, kj::String> parameters;  // names in lower case

  // "" when absent. Valid as long as this object is.
  kj::StringPtr parameter(kj::StringPtr name) const;
};

// All challenges of one header value, in order; one header may hold several. What cannot be read
// ends the list: a server's mistake is no reason to fail before the 401 itself is reported.
kj::Vector<Challenge> parseChallenges(kj::StringPtr value);

}  // namespace belay::snapshot
