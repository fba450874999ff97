// See acceptor.h.
#include "supervisor/acceptor.h"

#include <errno.h>
#include <kj/debug.h>
#include <string.h>
#include <sys/socket.h>

namespace belay::supervisor {

namespace {

// When descriptors or memory are short.
constexpr kj::Duration ACCEPT_AGAIN = 100 * kj::MILLISECONDS;

}  // namespace

Acceptor::Acceptor(kj::LowLevelAsyncIoProvider& io, kj::UnixEventPort& port, kj::Timer& timer,
                   int listener, Serve serve)
    : io(io),
      port(port),
      timer(timer),
      listener(listener),
      serve(kj::mv(serve)),
      accepting(acceptAll().eagerlyEvaluate([](kj::Exception&& exception) {
        KJ_LOG(ERROR, "no connections are accepted any more", exception);
      })) {}

kj::Promise<void> Acceptor::acceptAll() {
  kj::UnixEventPort::FdObserver observer(port, listener,
                                         kj::UnixEventPort::FdObserver::OBSERVE_READ);
  for (;;) {
    // Asked for before accepting: the observer tells of edges only.
    auto readable = observer.whenBecomesReadable();
    int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
      serve(io.wrapUnixSocketFd(kj::AutoCloseFd(fd)));
      // Whoever connects without end must not keep others waiting.
      co_await kj::evalLast([] {});
    } else if (errno == EAGAIN) {
      co_await readable;
    } else if (errno != ECONNABORTED && errno != EINTR) {
      KJ_LOG(WARNING, "cannot accept connections for now", strerror(errno));
      co_await timer.afterDelay(ACCEPT_AGAIN);
    }
  }
}

}  // namespace belay::supervisor
