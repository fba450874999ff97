// Processes by pidfd: no pid that may have been given to another one.
#pragma once

#include <signal.h>
#include <sys/types.h>

namespace belay::sys {

// pidfd_send_signal(2), Linux 5.1. Returns 0, or -1 with errno (ESRCH: it has been reaped, or is a
// zombie of another kind).
int sendSignal(int pidfd, int signal);

// Waits for a child by its pidfd: waitid(2) with P_PIDFD, Linux 5.4. `options` of waitid besides
// WEXITED. Returns 0 and fills `info` (si_pid 0: nothing yet, with WNOHANG), or -1 with errno.
int waitFor(int pidfd, siginfo_t& info, int options = 0);

// Duplicates a descriptor of another process (close-on-exec): pidfd_getfd(2), Linux 5.6. Needs the
// right to trace it. Returns the descriptor, or -1 with errno.
int descriptorOf(int pidfd, int fd);

// Whether the process has exited, reaped or not. Does not wait.
bool hasExited(int pidfd);

// How a process that has been reaped, by whomever, has ended: PIDFD_GET_INFO, Linux 6.15. Returns 0
// and fills `waitStatus` (as wait(2) does), or -1: EAGAIN when it has not been reaped yet, others
// when the kernel does not tell.
int exitOf(int pidfd, int& waitStatus);

// The process's pid as this process's /proc shows it; -1 with errno if there is none any more.
pid_t pidOf(int pidfd);

}  // namespace belay::sys
