// A session's end of the socket that it shares with a shim (shim/session.capnp).
#pragma once

#include <kj/async.h>
#include <kj/string.h>

#include "shim/packet.h"
#include "shim/session.capnp.h"

namespace belay::criapi::streaming {

// Sends what a session has to say. The shim reads at once: these promises are about its death only.
class ShimLink {
 public:
  ShimLink(kj::UnixEventPort& port, kj::AutoCloseFd socket)
      : socket(port, kj::mv(socket), shim::MAX_PACKET) {}

  // ToShim, filled in by `fill`. Throws DISCONNECTED if the shim is gone.
  template <typename Fill>
  kj::Promise<void> send(Fill fill) {
    capnp::MallocMessageBuilder message;
    fill(message.initRoot<shim::ToShim>());
    return socket.send(message);
  }

  // The next FromShim; nullptr if the shim has hung up. One waiter.
  kj::Promise<kj::Maybe<kj::Own<shim::Packet>>> receive() { return socket.receive(); }

 private:
  shim::PacketSocket socket;
};

}  // namespace belay::criapi::streaming
