// See pipe-io.h.
#include "snapshot/pull/pipe-io.h"

#include <fcntl.h>
#include <kj/debug.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

namespace belay::snapshot {

size_t readSome(int fd, kj::ArrayPtr<kj::byte> buffer) {
  ssize_t n;
  KJ_SYSCALL(n = read(fd, buffer.begin(), buffer.size()));
  return n;
}

void writeAll(int fd, kj::ArrayPtr<const kj::byte> bytes) {
  while (bytes.size() > 0) {
    ssize_t n;
    KJ_SYSCALL(n = write(fd, bytes.begin(), bytes.size()));
    bytes = bytes.slice(n, bytes.size());
  }
}

void widenPipe(int fd) {
  fcntl(fd, F_SETPIPE_SZ, PIPE_BUFFER_BYTES);
}

bool isWanted(int fd) {
  struct stat status;
  if (fstat(fd, &status) < 0) return false;
  return !(S_ISCHR(status.st_mode) && status.st_rdev == makedev(1, 3));
}

}  // namespace belay::snapshot
