// Implementation of capture.h.
#include "shim/stdio/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <sys/types.h>
#include <unistd.h>

#include "shim/sys/fds.h"

namespace belay::shim {
namespace {

constexpr size_t MAX_MOVE = 64 << 10;

kj::AutoCloseFd makeMemoryFile(kj::StringPtr name) {
  int fd;
  KJ_SYSCALL(fd = sys::newMemoryFile(name.cStr()), name);
  return kj::AutoCloseFd(fd);
}

}  // namespace

Capture::Capture(kj::UnixEventPort& port, kj::StringPtr name, uint64_t maxBytes)
    : pipe(makePipe()),
      memory(makeMemoryFile(name)),
      maxBytes(maxBytes),
      observer(port, pipe.readEnd, kj::UnixEventPort::FdObserver::OBSERVE_READ),
      ended(nullptr) {
  setNonBlocking(pipe.readEnd);
  ended = run().fork();
}

kj::Promise<void> Capture::run() {
  for (;;) {
    auto readable = observer.whenBecomesReadable();
    Moved moved;
    while ((moved = move()) == Moved::SOME) {
      co_await kj::evalLater([]() {});
    }
    if (moved == Moved::END) co_return;
    co_await readable;
  }
}

Capture::Moved Capture::move() {
  ssize_t count;
  if (size < maxBytes) {
    loff_t offset = size;
    do {
      count = splice(pipe.readEnd, nullptr, memory, &offset,
                     kj::min(maxBytes - size, uint64_t(MAX_MOVE)), SPLICE_F_NONBLOCK);
    } while (count < 0 && errno == EINTR);
    if (count > 0) size += count;
  } else {
    kj::byte scratch[4096];
    do {
      count = read(pipe.readEnd, scratch, sizeof(scratch));
    } while (count < 0 && errno == EINTR);
  }
  if (count > 0) return Moved::SOME;
  if (count == 0) return Moved::END;
  if (errno == EAGAIN) return Moved::NOTHING_NOW;
  if (errno == ENOMEM || errno == ENOSPC) {
    // No memory for more: the rest is dropped like what is over the limit.
    maxBytes = size;
    return Moved::SOME;
  }
  KJ_FAIL_SYSCALL("splice(output, memory file)", errno);
}

kj::AutoCloseFd Capture::finish() {
  while (move() == Moved::SOME) {
  }
  KJ_SYSCALL(sys::sealMemoryFile(memory));
  maxBytes = size;
  return kj::mv(memory);
}

}  // namespace belay::shim
