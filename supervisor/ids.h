// Names that nobody else has.
#pragma once

#include <kj/string.h>

namespace belay::supervisor {

// 64 hex digits, as clients expect of pods and containers.
kj::String newId();

// A random UUID (RFC 9562, version 4), as in /run/netns/cni-UUID.
kj::String newUuid();

}  // namespace belay::supervisor
