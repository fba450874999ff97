// A descriptor that a stream's bytes come from or go to.
#include "criapi/streaming/stream-fd.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <sys/socket.h>
#include <unistd.h>

namespace belay::criapi::streaming {

StreamFd::StreamFd(kj::UnixEventPort& port, kj::AutoCloseFd descriptor)
    : fd(kj::mv(descriptor)),
      observer(port, fd, kj::UnixEventPort::FdObserver::OBSERVE_READ_WRITE) {
  int flags;
  KJ_SYSCALL(flags = fcntl(fd, F_GETFL));
  KJ_SYSCALL(fcntl(fd, F_SETFL, flags | O_NONBLOCK));
}

kj::Maybe<size_t> StreamFd::read(kj::ArrayPtr<kj::byte> buffer) {
  ssize_t count;
  do {
    count = ::read(fd, buffer.begin(), buffer.size());
  } while (count < 0 && errno == EINTR);
  if (count >= 0) return static_cast<size_t>(count);
  if (errno == EAGAIN) return nullptr;
  if (errno == EIO || errno == ECONNRESET || errno == EPIPE || errno == ETIMEDOUT) {
    return size_t{0};
  }
  KJ_FAIL_SYSCALL("read from the container", errno);
}

kj::Maybe<size_t> StreamFd::write(kj::ArrayPtr<const kj::byte> bytes) {
  ssize_t count;
  do {
    count = ::write(fd, bytes.begin(), bytes.size());
  } while (count < 0 && errno == EINTR);
  if (count >= 0) return static_cast<size_t>(count);
  if (errno == EAGAIN) return size_t{0};
  if (errno == EIO || errno == ECONNRESET || errno == EPIPE || errno == ETIMEDOUT) return nullptr;
  KJ_FAIL_SYSCALL("write to the container", errno);
}

void StreamFd::shutdownWrite() {
  // ENOTSOCK, ENOTCONN: nobody to tell.
  shutdown(fd, SHUT_WR);
}

}  // namespace belay::criapi::streaming
