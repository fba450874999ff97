// The shim's end of the socket that it shares with a streaming session (session.capnp).
#pragma once

#include <capnp/serialize.h>
#include <kj/async-unix.h>
#include <kj/io.h>

#include "shim/engine/failure-value.h"
#include "shim/session.capnp.h"

namespace belay::shim {

// A session reads what strangers send and may have been taken over: whatever comes from it is
// checked, and the worst that it can get is to be hung up on.
class SessionSocket final {
 public:
  // A pair of connected sockets; `theirs` is for the session. Both close-on-exec.
  struct Pair {
    kj::AutoCloseFd ours, theirs;
  };
  static Pair makePair();

  // `socket` is the shim's end. `port` outlives this object.
  SessionSocket(kj::UnixEventPort& port, kj::AutoCloseFd socket);
  KJ_DISALLOW_COPY_AND_MOVE(SessionSocket);

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

  // More than any packet carries.
  static constexpr size_t MAX_DESCRIPTORS = 4;

 private:
  kj::AutoCloseFd socket;
  kj::UnixEventPort::FdObserver observer;
  kj::Array<capnp::word> buffer;
  kj::Maybe<capnp::FlatArrayMessageReader> message;

  kj::Maybe<ToShim::Reader> parse(size_t bytes);
};

}  // namespace belay::shim
