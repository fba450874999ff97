// The system call filter of a container's process, and when it is loaded. For children after the
// clone: allocates nothing, reports failures and exits.
#pragma once

#include "shim/engine/execution.h"
#include "shim/engine/report.h"
#include "shim/spec.capnp.h"

namespace belay::shim {

constexpr uint64_t ADMIN_CAPABILITY = uint64_t(1) << 21;

// True if whoever loads the filter must have CAP_SYS_ADMIN: without no_new_privs, which would last.
bool filterNeedsAdmin(ProcessSpec::Reader process);

// Loads the filter, sees to it that its listener gets where it belongs, and gives up the
// CAP_SYS_ADMIN that becomeUser kept for it.
void loadSyscallFilter(const Reporter& reporter, Execution& execution);

// Loads it in stage A, whom no process of the container can see, if it lets A and B do all that is
// left to do: then B is born filtered and without a privilege too many, and nobody who may trace it
// gains anything. Filters that forbid even these few calls, or refer them to a listener, are loaded
// by B as ever.
void loadSyscallFilterEarly(const Reporter& reporter, Execution& execution);

// Makes stage B, a sibling of the caller, by a system call that an early filter lets pass.
pid_t cloneFilteredSibling(int& pidfd);

}  // namespace belay::shim
