// Where a container's /proc comes from.
//
// procfs shows the pid namespace of the process that mounts it, which takes CAP_SYS_ADMIN. In a
// namespace that others are in, a process with that capability would be a way out of the container
// for anybody there who may trace. So there /proc is a copy of a mount that exists already, and
// only in a namespace that is still empty, and in the host's, it is mounted anew.
#pragma once

#include "shim/engine/pid-plan.h"
#include "shim/engine/report.h"

namespace belay::shim {

// Where the pod's shared pid namespace has its procfs, in the pod's directory.
constexpr const char* POD_PROC = "proc";

// A detached copy of the procfs of the pid namespace, or -1 if it is to be mounted anew. For
// children after the clone, in a mount namespace of their own with the host's mounts, the pod's
// directory being the working directory; they are the same afterwards.
int copyProc(const Reporter& reporter, const PidPlan& pids);

// In a user namespace that does not own everything, procfs may be mounted only where one can be
// seen already. This is one to be seen: a detached mount of the host's, for newProc alone.
int copyHostsProc(const Reporter& reporter);

// A detached procfs of this process's pid namespace, or -1 with errno. `hostsProc` is
// copyHostsProc's where this process is in a user namespace of the pod's, else -1; it is closed.
// For a process whose pid namespace nobody else is in: the host's is mounted for a moment.
int newProc(const Reporter& reporter, int hostsProc, uint64_t attributes);

}  // namespace belay::shim
