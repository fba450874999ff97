// A container's limits, and its share in the kernel's choice of whom to kill.
#pragma once

#include "shim/spec.capnp.h"
#include "supervisor/model.capnp.h"
#include "supervisor/owned.h"

namespace belay::supervisor {

// Values as the CRI gives them, checked; 0 stays "not set", -1 is unlimited. A memory limit without
// a swap limit forbids swapping, as peers do: the swap limit (memory + swap) is then the memory
// limit.
void fillResources(shim::Resources::Builder to, LinuxResources::Reader from);

// `present` with what `change` sets in its place, as UpdateContainerResources has it: 0 and empty
// are not set, lists are merged by page size and key.
Owned<LinuxResources> mergeResources(LinuxResources::Reader present, LinuxResources::Reader change);

// Of the whole `resources` of a container (fillResources of the merged ones) what is to be written
// for `change`: what it sets, and with one of quota and period, or of memory and swap, the other.
void fillChange(shim::Resources::Builder to, shim::Resources::Reader resources,
                LinuxResources::Reader change);

// What is set, by the CRI's names: "cpu_shares=512 memory_limit_in_bytes=67108864".
kj::String describe(LinuxResources::Reader resources);

// The container's oom_score_adj (-1000 to 1000), raised to `floor`.
int32_t oomScoreAdj(LinuxResources::Reader resources, kj::Maybe<int32_t> floor);

}  // namespace belay::supervisor
