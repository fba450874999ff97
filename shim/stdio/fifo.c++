// Implementation of fifo.h.
#include "shim/stdio/fifo.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <sys/stat.h>
#include <unistd.h>

namespace belay::shim {
namespace {

constexpr mode_t FIFO_MODE = 0600;

kj::AutoCloseFd openAt(int dirFd, kj::StringPtr name, int flags) {
  int fd;
  KJ_SYSCALL(fd = openat(dirFd, name.cStr(), flags | O_CLOEXEC | O_NOFOLLOW), name);
  return kj::AutoCloseFd(fd);
}

}  // namespace

void makeFifo(int dirFd, kj::StringPtr name) {
  KJ_SYSCALL_HANDLE_ERRORS(mkfifoat(dirFd, name.cStr(), FIFO_MODE)) {
    case EEXIST:
      break;
    default:
      KJ_FAIL_SYSCALL("mkfifoat", error, name);
  }
}

void giveFifo(int dirFd, kj::StringPtr name, uid_t uid, gid_t gid) {
  KJ_SYSCALL(fchownat(dirFd, name.cStr(), uid, gid, AT_SYMLINK_NOFOLLOW), name);
}

kj::AutoCloseFd openOutputEnd(int dirFd, kj::StringPtr name) {
  return openAt(dirFd, name, O_RDWR);
}

kj::AutoCloseFd openInputEnd(int dirFd, kj::StringPtr name) {
  // Without O_NONBLOCK the open would wait for a writer; the flag must not reach the container.
  auto fd = openAt(dirFd, name, O_RDONLY | O_NONBLOCK);
  KJ_SYSCALL(fcntl(fd, F_SETFL, 0), name);
  return fd;
}

kj::AutoCloseFd openReader(int dirFd, kj::StringPtr name) {
  return openAt(dirFd, name, O_RDONLY | O_NONBLOCK);
}

kj::AutoCloseFd openWriter(int dirFd, kj::StringPtr name) {
  return openAt(dirFd, name, O_WRONLY | O_NONBLOCK);
}

kj::AutoCloseFd tryOpenWriter(int dirFd, kj::StringPtr name) {
  int fd;
  KJ_SYSCALL_HANDLE_ERRORS(
      fd = openat(dirFd, name.cStr(), O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW)) {
    case ENXIO:
      return nullptr;
    default:
      KJ_FAIL_SYSCALL("openat", error, name);
  }
  return kj::AutoCloseFd(fd);
}

}  // namespace belay::shim
