// Making a process with clone3(2), which the C library does not wrap.
#pragma once

#include <sys/types.h>

#include <cstdint>

namespace belay::sys {

// What a new process is to be born into, besides a copy of its parent.
struct CloneOptions {
  uint64_t flags = 0;
  // CLONE_NEW* and CLONE_PARENT. Never CLONE_VM or CLONE_VFORK: a process near a container must not
  // share its parent's memory.

  int cgroupFd = -1;
  // A v2 cgroup's directory (CLONE_INTO_CGROUP, Linux 5.7), or -1.
};

// Forks like fork(2): returns 0 in the child, the pid in the parent, -1 with errno on failure.
// `pidfd` receives the child's pidfd (close-on-exec) in the parent. The child dies with SIGCHLD to
// its parent. Handlers of pthread_atfork are not run, so that the caller must be single-threaded.
pid_t cloneProcess(const CloneOptions& options, int& pidfd);

}  // namespace belay::sys
