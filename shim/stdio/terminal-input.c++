// Implementation of terminal-input.h.
#include "shim/stdio/terminal-input.h"

#include <errno.h>
#include <kj/debug.h>
#include <poll.h>
#include <unistd.h>

namespace belay::shim {
namespace {

using Observer = kj::UnixEventPort::FdObserver;

// Nobody has the terminal open. Such a master tells of an "edge" at every write that it refuses:
// waiting for it to take more would be a busy loop, in which KJ sees no signals.
bool hasHungUp(int master) {
  struct pollfd state{master, POLLOUT, 0};
  return poll(&state, 1, 0) == 1 && (state.revents & POLLHUP);
}

// Writes all of it; false when the terminal has gone.
kj::Promise<bool> writeAll(Observer& observer, int master, kj::ArrayPtr<const kj::byte> bytes) {
  while (bytes.size() > 0) {
    auto writable = observer.whenBecomesWritable();
    ssize_t count = write(master, bytes.begin(), bytes.size());
    if (count > 0) {
      bytes = bytes.slice(count, bytes.size());
    } else if (count == 0 || errno == EAGAIN) {
      if (hasHungUp(master)) co_return false;
      co_await writable;
    } else if (errno != EINTR) {
      co_return false;
    }
  }
  co_return true;
}

}  // namespace

kj::Promise<void> copyToTerminal(kj::UnixEventPort& port, WorkCounter& counter,
                                 kj::AutoCloseFd pipe, kj::AutoCloseFd master) {
  Observer source(port, pipe, Observer::OBSERVE_READ);
  Observer target(port, master, Observer::OBSERVE_WRITE);
  kj::byte buffer[1024];
  for (;;) {
    auto readable = source.whenBecomesReadable();
    ssize_t count = read(pipe, buffer, sizeof(buffer));
    if (count > 0) {
      Work work(counter);
      if (!co_await writeAll(target, master, kj::arrayPtr(buffer, count))) co_return;
    } else if (count == 0) {
      co_return;
    } else if (errno == EAGAIN) {
      co_await readable;
    } else if (errno != EINTR) {
      KJ_FAIL_SYSCALL("read(input)", errno);
    }
  }
}

}  // namespace belay::shim
