// Accepts connections on a listening socket of belayd's.
#pragma once

#include <kj/async-io.h>
#include <kj/async-unix.h>
#include <kj/function.h>
#include <kj/timer.h>

namespace belay::supervisor {

// A connection is handed over in the same turn of the event loop in which it leaves the kernel's
// queue: dropping this object loses none, those not yet accepted stay for whoever accepts next.
class Acceptor {
 public:
  using Serve = kj::Function<void(kj::Own<kj::AsyncCapabilityStream>)>;

  // `listener`, which does not block, is borrowed; it and the others outlive this object. Waits and
  // goes on when out of descriptors or memory.
  Acceptor(kj::LowLevelAsyncIoProvider& io, kj::UnixEventPort& port, kj::Timer& timer, int listener,
           Serve serve);
  KJ_DISALLOW_COPY_AND_MOVE(Acceptor);

 private:
  kj::LowLevelAsyncIoProvider& io;
  kj::UnixEventPort& port;
  kj::Timer& timer;
  int listener;
  Serve serve;
  kj::Promise<void> accepting;

  kj::Promise<void> acceptAll();
};

}  // namespace belay::supervisor
