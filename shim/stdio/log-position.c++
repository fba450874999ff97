// Implementation of log-position.h.
#include "shim/stdio/log-position.h"

#include <fcntl.h>
#include <kj/debug.h>
#include <unistd.h>

namespace belay::shim {
namespace {

constexpr uint64_t MAGIC = 0x31676f6c79616c62;  // "blaylog1"

// As it lies in the file. Only programs of the same machine read it, in the machine's byte order.
struct Stored {
  uint64_t magic;
  LogPosition position;
};

}  // namespace

LogPositionFile LogPositionFile::create(int dirFd, kj::StringPtr name) {
  int fd;
  KJ_SYSCALL(
      fd = openat(dirFd, name.cStr(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600),
      name);
  return LogPositionFile(kj::AutoCloseFd(fd));
}

LogPositionFile LogPositionFile::open(int dirFd, kj::StringPtr name) {
  int fd;
  KJ_SYSCALL(fd = openat(dirFd, name.cStr(), O_RDWR | O_CLOEXEC | O_NOFOLLOW), name);
  return LogPositionFile(kj::AutoCloseFd(fd));
}

void LogPositionFile::store(const LogPosition& position) {
  Stored stored{MAGIC, position};
  ssize_t written;
  KJ_SYSCALL(written = pwrite(fd, &stored, sizeof(stored), 0));
  KJ_REQUIRE(written == sizeof(stored), "short write to the log position");
}

kj::Maybe<LogPosition> LogPositionFile::load() const {
  Stored stored;
  ssize_t count;
  KJ_SYSCALL(count = pread(fd, &stored, sizeof(stored), 0));
  if (count != sizeof(stored) || stored.magic != MAGIC) return nullptr;
  return stored.position;
}

}  // namespace belay::shim
