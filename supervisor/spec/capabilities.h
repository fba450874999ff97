// Capabilities by name, and the five sets of a container's process (capabilities(7)).
#pragma once

#include <kj/string.h>

#include "shim/spec.capnp.h"
#include "supervisor/model.capnp.h"

namespace belay::supervisor {

// Bit of "SYS_ADMIN" or "CAP_SYS_ADMIN", letters of either case; absent when there is none.
kj::Maybe<uint64_t> capabilityBit(kj::StringPtr name);

// The set that containers have unless they say otherwise: the one images are made for.
uint64_t defaultCapabilities();

// Those that this process could give: its permitted set (/proc/self/status).
uint64_t readOwnCapabilities();

// The default set, changed by add and drop ("ALL" first, single names over it), or all of
// `available` for a privileged container. What is asked for by name and not available is
// FAILED_PRECONDITION; of "ALL" and the default set, what is available is given. Ambient
// capabilities are added to every set; the inheritable set holds nothing else, so that a program
// with file capabilities gains none by it.
void fillCapabilities(shim::Capabilities::Builder sets, SecurityContext::Reader security,
                      uint64_t available);

}  // namespace belay::supervisor
