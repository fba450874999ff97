// Processes by pidfd.
#include "shim/sys/pidfd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>

namespace belay::sys {
namespace {

// Of linux/pidfd.h, which is newer than the libraries this is built with. The first version of the
// struct has 64 bytes, and the size is part of the ioctl's number.
struct PidfdInfo {
  uint64_t mask;
  uint64_t cgroupId;
  uint32_t pid, tgid, ppid;
  uint32_t ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
  int32_t exitCode;
};
static_assert(sizeof(PidfdInfo) == 64);
constexpr unsigned long GET_INFO = _IOWR(0xFF, 11, PidfdInfo);
constexpr uint64_t INFO_EXIT = 1 << 3;

}  // namespace

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

bool hasExited(int pidfd) {
  struct pollfd state = {pidfd, POLLIN, 0};
  return poll(&state, 1, 0) == 1;
}

int exitOf(int pidfd, int& waitStatus) {
  PidfdInfo info{};
  info.mask = INFO_EXIT;
  if (ioctl(pidfd, GET_INFO, &info) < 0) return -1;
  if (!(info.mask & INFO_EXIT)) {
    errno = EAGAIN;
    return -1;
  }
  waitStatus = info.exitCode;
  return 0;
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
