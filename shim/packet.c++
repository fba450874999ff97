// One Cap'n Proto message as one packet.
#include "shim/packet.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <string.h>
#include <sys/socket.h>

namespace belay::shim {
namespace {

struct ControlBuffer {
  alignas(struct cmsghdr) char bytes[CMSG_SPACE(MAX_PACKET_FDS * sizeof(int))];
};

// Everything that came along is owned at once, so that a refused packet leaks no descriptor.
kj::Array<kj::AutoCloseFd> takeFds(struct msghdr& message) {
  kj::Vector<kj::AutoCloseFd> fds;
  for (auto* control = CMSG_FIRSTHDR(&message); control != nullptr;
       control = CMSG_NXTHDR(&message, control)) {
    if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS) continue;
    size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd;
      memcpy(&fd, CMSG_DATA(control) + i * sizeof(int), sizeof(int));
      fds.add(kj::AutoCloseFd(fd));
    }
  }
  return fds.releaseAsArray();
}

// -1 with errno EAGAIN when the peer has no room.
ssize_t sendOnce(int socket, kj::ArrayPtr<const capnp::word> words, kj::ArrayPtr<const int> fds) {
  struct iovec data = {const_cast<capnp::word*>(words.begin()), words.asBytes().size()};
  ControlBuffer control;
  struct msghdr message = {};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  if (fds.size() > 0) {
    message.msg_control = control.bytes;
    message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
    auto* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    memcpy(CMSG_DATA(header), fds.begin(), fds.asBytes().size());
  }
  return sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

kj::Array<int> numbersOf(kj::ArrayPtr<const kj::AutoCloseFd> fds) {
  return KJ_MAP(fd, fds) {
    return fd.get();
  };
}

}  // namespace

PacketPair makePacketPair() {
  int pair[2];
  KJ_SYSCALL(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair));
  return {kj::AutoCloseFd(pair[0]), kj::AutoCloseFd(pair[1])};
}

PacketSocket::PacketSocket(kj::UnixEventPort& port, kj::AutoCloseFd fd, size_t maxBytes)
    : socket(kj::mv(fd)),
      observer(port, socket, kj::UnixEventPort::FdObserver::OBSERVE_READ_WRITE),
      maxBytes(maxBytes) {
  int flags;
  KJ_SYSCALL(flags = fcntl(socket, F_GETFL));
  KJ_SYSCALL(fcntl(socket, F_SETFL, flags | O_NONBLOCK));
}

kj::Array<capnp::word> PacketSocket::flatten(capnp::MessageBuilder& message, size_t fds) {
  KJ_REQUIRE(fds <= MAX_PACKET_FDS, "too many descriptors for one packet", fds);
  auto words = capnp::messageToFlatArray(message);
  KJ_REQUIRE(words.asBytes().size() <= maxBytes, "message too big for one packet",
             words.asBytes().size(), maxBytes);
  return words;
}

kj::Promise<void> PacketSocket::send(capnp::MessageBuilder& message,
                                     kj::Array<kj::AutoCloseFd> fds) {
  auto words = flatten(message, fds.size());
  if (waiting.empty()) {
    ssize_t sent = -1;
    auto failure = kj::runCatchingExceptions(
        [&]() { KJ_NONBLOCKING_SYSCALL(sent = sendOnce(socket, words, numbersOf(fds))); });
    KJ_IF_MAYBE (exception, failure) return kj::mv(*exception);
    if (sent >= 0) return kj::READY_NOW;
  }
  auto pair = kj::newPromiseAndFulfiller<void>();
  waiting.push_back({kj::mv(words), kj::mv(fds), kj::mv(pair.fulfiller)});
  if (waiting.size() == 1) {
    sending = sendWaiting().eagerlyEvaluate([this](kj::Exception&& exception) {
      for (auto& packet : waiting)
        packet.sent->reject(kj::cp(exception));
      waiting.clear();
    });
  }
  return kj::mv(pair.promise);
}

bool PacketSocket::trySend(capnp::MessageBuilder& message, kj::ArrayPtr<const int> fds) {
  auto words = flatten(message, fds.size());
  if (!waiting.empty()) return false;
  ssize_t sent;
  do {
    sent = sendOnce(socket, words, fds);
  } while (sent < 0 && errno == EINTR);
  return sent >= 0;
}

kj::Promise<void> PacketSocket::sendWaiting() {
  while (!waiting.empty()) {
    auto& packet = waiting.front();
    ssize_t sent;
    KJ_NONBLOCKING_SYSCALL(sent = sendOnce(socket, packet.words, numbersOf(packet.fds)));
    if (sent < 0) {
      co_await observer.whenBecomesWritable();
      continue;
    }
    packet.sent->fulfill();
    waiting.pop_front();
  }
}

kj::Promise<kj::Maybe<kj::Own<Packet>>> PacketSocket::receive() {
  for (;;) {
    KJ_IF_MAYBE (result, receiveNow()) co_return kj::mv(*result);
    co_await observer.whenBecomesReadable();
  }
}

kj::Maybe<kj::Maybe<kj::Own<Packet>>> PacketSocket::receiveNow() {
  // Not kept while waiting: there may be many who wait, in a process that counts its memory.
  auto words = kj::heapArray<capnp::word>(maxBytes / sizeof(capnp::word));
  struct iovec data = {words.begin(), words.asBytes().size()};
  ControlBuffer control;
  struct msghdr message = {};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes;
  message.msg_controllen = sizeof(control.bytes);
  ssize_t size;
  do {
    size = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  } while (size < 0 && errno == EINTR);
  if (size < 0 && errno == EAGAIN) return nullptr;
  // A peer that closes with our packets unread shows as a reset.
  if (size == 0 || (size < 0 && errno == ECONNRESET)) {
    return kj::Maybe<kj::Maybe<kj::Own<Packet>>>(kj::Maybe<kj::Own<Packet>>(nullptr));
  }
  if (size < 0) KJ_FAIL_SYSCALL("recvmsg", errno);

  auto fds = takeFds(message);
  KJ_REQUIRE((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0,
             "The peer sent a packet that is too big or has too many descriptors.", size);
  KJ_REQUIRE(size % sizeof(capnp::word) == 0, "The peer sent what is no message.", size);
  auto exact = kj::heapArray<capnp::word>(size / sizeof(capnp::word));
  memcpy(exact.begin(), words.begin(), size);
  return kj::Maybe<kj::Own<Packet>>(kj::heap<Packet>(kj::mv(exact), kj::mv(fds)));
}

}  // namespace belay::shim
