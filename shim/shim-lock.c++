// Implementation of shim-lock.h.
#include "shim/shim-lock.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <sys/stat.h>

#include "shim/record.h"

namespace belay::shim {
namespace {

constexpr kj::StringPtr LOCK_FILE = "lock"_kj;

kj::AutoCloseFd openLock(int podDirFd) {
  int fd;
  KJ_SYSCALL(
      fd = openat(podDirFd, LOCK_FILE.cStr(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  return kj::AutoCloseFd(fd);
}

bool isThere(int file) {
  struct stat found;
  KJ_SYSCALL(fstat(file, &found));
  return found.st_nlink > 0;
}

}  // namespace

kj::OneOf<kj::AutoCloseFd, pid_t> lockPod(int podDirFd) {
  kj::OneOf<kj::AutoCloseFd, pid_t> result;
  for (;;) {
    auto file = openLock(podDirFd);
    struct flock whole{.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(file.get(), F_SETLK, &whole) == 0) {
      if (!isThere(file)) continue;  // its owner took it away before it ended
      result.init<kj::AutoCloseFd>(kj::mv(file));
      return result;
    }
    if (errno != EAGAIN && errno != EACCES) KJ_FAIL_SYSCALL("fcntl(F_SETLK)", errno);
    struct flock owner{.l_type = F_WRLCK, .l_whence = SEEK_SET};
    KJ_SYSCALL(fcntl(file.get(), F_GETLK, &owner));
    if (owner.l_type == F_UNLCK) continue;  // it has just died
    result.init<pid_t>(owner.l_pid);
    return result;
  }
}

void removeLock(int podDirFd) {
  removeFile(podDirFd, LOCK_FILE);
}

}  // namespace belay::shim
