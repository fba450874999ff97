// One Cap'n Proto message as one packet of a SOCK_SEQPACKET socket, with descriptors: how the shim,
// a streaming session and belayd speak with each other about a stream (session.capnp, also that of
// criapi/streaming). No connection state, so either end can hand its socket to a successor. Either
// may have been taken over by strangers: what is no message, is too big or brings too many
// descriptors is refused.
#pragma once

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <kj/array.h>
#include <kj/async-unix.h>
#include <kj/io.h>

#include <deque>

namespace belay::shim {

// Descriptors that one packet can carry.
constexpr size_t MAX_PACKET_FDS = 8;

// A message as it was received. The reader's pointers live as long as the packet.
class Packet {
 public:
  Packet(kj::Array<capnp::word> words, kj::Array<kj::AutoCloseFd> fds)
      : fds(kj::mv(fds)), words(kj::mv(words)), reader(this->words) {}

  template <typename Root>
  typename Root::Reader as() {
    return reader.getRoot<Root>();
  }

  // What came along, close-on-exec; take them out or they are closed.
  kj::Array<kj::AutoCloseFd> fds;

 private:
  kj::Array<capnp::word> words;
  capnp::FlatArrayMessageReader reader;
};

// A pair of connected sockets, close-on-exec.
struct PacketPair {
  kj::AutoCloseFd ours, theirs;
};
PacketPair makePacketPair();

// One end. Not for two readers at once. Packets are sent in the order of the calls.
class PacketSocket {
 public:
  // Makes the socket non-blocking. `maxBytes` is the protocol's maxPacket, in either direction.
  PacketSocket(kj::UnixEventPort& port, kj::AutoCloseFd socket, size_t maxBytes);

  // Borrowed. Whoever gets a copy of it goes on where this object has stopped, unless a packet
  // waits to be sent.
  int getFd() const { return socket; }

  // Sends at once or, when the peer does not keep up, as soon as it does. The message is copied
  // before this returns; the descriptors are closed when they were sent. Throws DISCONNECTED if the
  // peer is gone. Cancelling the promise does not prevent the packet.
  kj::Promise<void> send(capnp::MessageBuilder& message, kj::Array<kj::AutoCloseFd> fds = nullptr);

  // Sends at once or not at all, for a peer that is never waited for: false when it does not keep
  // up or is gone. The descriptors stay the caller's.
  bool trySend(capnp::MessageBuilder& message, kj::ArrayPtr<const int> fds = nullptr);

  // The next packet; nullptr when the peer has closed its end. Throws on a packet that is too big
  // or carries too many descriptors. Cancelling loses nothing.
  kj::Promise<kj::Maybe<kj::Own<Packet>>> receive();

 private:
  struct Outgoing {
    kj::Array<capnp::word> words;
    kj::Array<kj::AutoCloseFd> fds;
    kj::Own<kj::PromiseFulfiller<void>> sent;
  };

  kj::AutoCloseFd socket;
  kj::UnixEventPort::FdObserver observer;
  size_t maxBytes;
  std::deque<Outgoing> waiting;
  kj::Promise<void> sending = kj::READY_NOW;

  // Checks the caps.
  kj::Array<capnp::word> flatten(capnp::MessageBuilder& message, size_t fds);
  // nullptr when nothing has come yet.
  kj::Maybe<kj::Maybe<kj::Own<Packet>>> receiveNow();
  kj::Promise<void> sendWaiting();
};

}  // namespace belay::shim
