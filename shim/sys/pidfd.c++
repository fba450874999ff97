// Processes by pidfd.
#include "shim/sys/pidfd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

namespace belay::sys {

int sendSignal(int pidfd, int signal) {
  return syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0);
}

int waitFor(int pidfd, siginfo_t& info, int options) {
  memset(&info, 0, sizeof(info));
  return waitid(P_PIDFD, pidfd, &info, WEXITED | options);
}

int descriptorOf(int pidfd, int fd) {
  return syscall(SYS_pidfd_getfd, pidfd, fd, 0);
}

pid_t pidOf(int pidfd) {
  char path[64];
  snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  char text[512];
  ssize_t length = read(fd, text, sizeof(text) - 1);
  close(fd);
  if (length < 0) return -1;
  text[length] = '\0';
  const char* line = strstr(text, "\nPid:\t");
  pid_t pid = line == nullptr ? -1 : atoi(line + strlen("\nPid:\t"));
  if (pid > 0) return pid;
  errno = ESRCH;
  return -1;
}

}  // namespace belay::sys
