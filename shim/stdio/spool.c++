// Implementation of spool.h.
#include "shim/stdio/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

namespace belay::shim {
namespace {

// One system call moves at most what a default pipe holds, so that one container's flood leaves the
// event loop to the others.
constexpr size_t MAX_MOVE = 64 << 10;

// Punching is a system call: not for every line, but before it adds up.
constexpr uint64_t PUNCH_BYTES = 32 << 10;

}  // namespace

Spool Spool::create(int dirFd, kj::StringPtr name) {
  int fd;
  KJ_SYSCALL(
      fd = openat(dirFd, name.cStr(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600),
      name);
  return Spool(kj::AutoCloseFd(fd), 0, 0);
}

Spool Spool::open(int dirFd, kj::StringPtr name, uint64_t begin) {
  int fd;
  KJ_SYSCALL(fd = openat(dirFd, name.cStr(), O_RDWR | O_CLOEXEC | O_NOFOLLOW), name);
  kj::AutoCloseFd own(fd);
  struct stat stats;
  KJ_SYSCALL(fstat(fd, &stats), name);
  uint64_t size = stats.st_size;
  KJ_REQUIRE(begin <= size && size - begin <= CAPACITY, "the record does not fit the spool", name,
             begin, size);
  return Spool(kj::mv(own), begin, size);
}

Spool::Moved Spool::spliceFrom(int pipeFd) {
  if (room() == 0) return Moved::FULL;
  loff_t offset = last;
  ssize_t count;
  do {
    count = splice(pipeFd, nullptr, fd, &offset, kj::min(room(), uint64_t(MAX_MOVE)),
                   SPLICE_F_NONBLOCK);
  } while (count < 0 && errno == EINTR);
  if (count < 0) {
    if (errno == EAGAIN) return Moved::NOTHING_NOW;
    if (errno == ENOSPC || errno == ENOMEM) return Moved::FULL;
    KJ_FAIL_SYSCALL("splice(output, spool)", errno);
  }
  if (count == 0) return Moved::END;
  last += count;
  return Moved::SOME;
}

Spool::Moved Spool::readFrom(int ptyFd) {
  if (room() == 0) return Moved::FULL;
  kj::byte buffer[4096];
  ssize_t count;
  do {
    count = ::read(ptyFd, buffer, kj::min(room(), uint64_t(sizeof(buffer))));
  } while (count < 0 && errno == EINTR);
  if (count < 0) {
    if (errno == EAGAIN) return Moved::NOTHING_NOW;
    if (errno == EIO) return Moved::END;
    KJ_FAIL_SYSCALL("read(pty master)", errno);
  }
  if (count == 0) return Moved::END;
  ssize_t written = pwrite(fd, buffer, count, last);
  // The bytes are out of the terminal already; a full /run must not hang the container up.
  if (written < 0) KJ_LOG(WARNING, "cannot spool terminal output, dropped", strerror(errno), count);
  last += kj::max(written, ssize_t(0));
  return Moved::SOME;
}

kj::ArrayPtr<kj::byte> Spool::read(uint64_t position, kj::ArrayPtr<kj::byte> buffer) const {
  KJ_REQUIRE(position >= first && position <= last);
  size_t wanted = kj::min(uint64_t(buffer.size()), last - position);
  size_t got = 0;
  while (got < wanted) {
    ssize_t count;
    KJ_SYSCALL(count = pread(fd, buffer.begin() + got, wanted - got, position + got));
    KJ_REQUIRE(count > 0, "the spool is shorter than what was put in", position, last);
    got += count;
  }
  return buffer.slice(0, got);
}

void Spool::consume(uint64_t position) {
  KJ_REQUIRE(position >= first && position <= last);
  first = position;
  uint64_t upTo = first & ~PAGE_MASK;
  if (upTo - punched < PUNCH_BYTES) return;
  // Where holes cannot be punched the file grows until the container is removed; the contents stay
  // right, so that is no reason to stop.
  if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, punched, upTo - punched) < 0) {
    KJ_LOG(WARNING, "cannot give spool pages back", strerror(errno));
  }
  punched = upTo;
}

}  // namespace belay::shim
