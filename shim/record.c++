// Implementation of record.h.
#include "shim/record.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <kj/io.h>
#include <stdio.h>
#include <unistd.h>

namespace belay::shim {

void writeRecord(int dirFd, kj::StringPtr name, capnp::MessageBuilder& message) {
  auto temporary = kj::str(name, ".new");
  int fd;
  KJ_SYSCALL(fd = openat(dirFd, temporary.cStr(),
                         O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600),
             temporary);
  kj::AutoCloseFd own(fd);
  capnp::writeMessageToFd(fd, message);
  KJ_SYSCALL(renameat(dirFd, temporary.cStr(), dirFd, name.cStr()), name);
}

kj::Maybe<kj::Own<capnp::MessageReader>> readRecord(int dirFd, kj::StringPtr name) {
  int fd;
  KJ_SYSCALL_HANDLE_ERRORS(fd = openat(dirFd, name.cStr(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW)) {
    case ENOENT:
      return nullptr;
    default:
      KJ_FAIL_SYSCALL("openat", error, name);
  }
  return kj::Own<capnp::MessageReader>(kj::heap<capnp::StreamFdMessageReader>(kj::AutoCloseFd(fd)));
}

void removeFile(int dirFd, kj::StringPtr name) {
  KJ_SYSCALL_HANDLE_ERRORS(unlinkat(dirFd, name.cStr(), 0)) {
    case ENOENT:
      break;
    default:
      KJ_FAIL_SYSCALL("unlinkat", error, name);
  }
}

kj::String readBootId() {
  int fd;
  KJ_SYSCALL(fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC));
  kj::AutoCloseFd own(fd);
  char text[64];
  ssize_t size;
  KJ_SYSCALL(size = read(fd, text, sizeof(text)));
  while (size > 0 && text[size - 1] == '\n')
    size--;
  return kj::heapString(text, size);
}

}  // namespace belay::shim
