// A container's limits, and its share in the kernel's choice of whom to kill.
#pragma once

#include "shim/spec.capnp.h"
#include "supervisor/model.capnp.h"

namespace belay::supervisor {

// Values as the CRI gives them, checked; 0 stays "not set". A memory limit without a swap limit
// forbids swapping, as peers do: the swap limit (memory + swap) is then the memory limit.
void fillResources(shim::Resources::Builder to, LinuxResources::Reader from);

// The container's oom_score_adj (-1000 to 1000), raised to `floor`.
int32_t oomScoreAdj(LinuxResources::Reader resources, kj::Maybe<int32_t> floor);

}  // namespace belay::supervisor
