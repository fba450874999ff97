// The shim's end of the socket that it shares with a streaming session (session.capnp).
#pragma once

#include "shim/engine/failure-value.h"
#include "shim/packet.h"
#include "shim/session.capnp.h"

namespace belay::shim {

// A session reads what strangers send and may have been taken over: whatever comes from it is
// checked, and the worst that it can get is to be hung up on.
class SessionSocket final {
 public:
  // `socket` is the shim's end. `port` outlives this object.
  SessionSocket(kj::UnixEventPort& port, kj::AutoCloseFd socket)
      : packets(port, kj::mv(socket), MAX_PACKET) {}
  KJ_DISALLOW_COPY_AND_MOVE(SessionSocket);

  // Borrowed.
  int getFd() const { return packets.getFd(); }

  // The next packet, good until the next call; nothing once the session has gone, or when it sent
  // what is no message. Descriptors that come along are closed. One waiter.
  kj::Promise<kj::Maybe<ToShim::Reader>> receive();

  // Sends a packet with descriptors, which the caller may close afterwards. Never waits: a session
  // that does not even read these few packets has gone, as far as the shim is concerned. False if
  // so.
  bool send(capnp::MessageBuilder& message, kj::ArrayPtr<const int> descriptors = nullptr);

  bool sendFailed(const FailureValue& failure);

  // The session's ends of the streams; null ones are left out.
  struct Streams {
    kj::AutoCloseFd in, out, err;
  };
  bool sendStarted(const Streams& streams);

 private:
  PacketSocket packets;
  kj::Maybe<kj::Own<Packet>> last;
};

}  // namespace belay::shim
