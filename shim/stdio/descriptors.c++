// Implementation of descriptors.h.
#include "shim/stdio/descriptors.h"

#include <fcntl.h>
#include <kj/debug.h>
#include <unistd.h>

namespace belay::shim {

kj::AutoCloseFd openNull(int flags) {
  int fd;
  KJ_SYSCALL(fd = open("/dev/null", flags | O_CLOEXEC));
  return kj::AutoCloseFd(fd);
}

kj::AutoCloseFd duplicate(int fd) {
  int copy;
  KJ_SYSCALL(copy = fcntl(fd, F_DUPFD_CLOEXEC, 3));
  return kj::AutoCloseFd(copy);
}

void setNonBlocking(int fd) {
  int flags;
  KJ_SYSCALL(flags = fcntl(fd, F_GETFL));
  KJ_SYSCALL(fcntl(fd, F_SETFL, flags | O_NONBLOCK));
}

Pipe makePipe() {
  int ends[2];
  KJ_SYSCALL(pipe2(ends, O_CLOEXEC));
  return {kj::AutoCloseFd(ends[0]), kj::AutoCloseFd(ends[1])};
}

size_t growPipe(int fd, size_t bytes) {
  int size;
  KJ_SYSCALL(size = fcntl(fd, F_GETPIPE_SZ));
  for (size_t wanted = bytes; wanted > size_t(size); wanted /= 2) {
    int grown = fcntl(fd, F_SETPIPE_SZ, int(wanted));
    if (grown >= 0) return grown;
  }
  return size;
}

}  // namespace belay::shim
