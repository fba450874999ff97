// Making a process with clone3(2).
#include "shim/sys/clone.h"

#include <linux/sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace belay::sys {

pid_t cloneProcess(const CloneOptions& options, int& pidfd) {
  struct clone_args arguments = {};
  arguments.flags = options.flags | CLONE_PIDFD;
  arguments.pidfd = reinterpret_cast<uintptr_t>(&pidfd);
  // The kernel refuses a signal of its own for a sibling: that one gets its creator's.
  if (!(options.flags & CLONE_PARENT)) arguments.exit_signal = SIGCHLD;
  if (options.cgroupFd >= 0) {
    arguments.flags |= CLONE_INTO_CGROUP;
    arguments.cgroup = options.cgroupFd;
  }
  return syscall(SYS_clone3, &arguments, sizeof(arguments));
}

}  // namespace belay::sys
