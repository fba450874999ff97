// Implementation of session-socket.h.
#include "shim/session-socket.h"

#include <errno.h>
#include <kj/debug.h>
#include <string.h>
#include <sys/socket.h>

namespace belay::shim {
namespace {

constexpr capnp::ReaderOptions READER_OPTIONS{
    .traversalLimitInWords = MAX_PACKET / sizeof(capnp::word), .nestingLimit = 4};

}  // namespace

SessionSocket::Pair SessionSocket::makePair() {
  int pair[2];
  KJ_SYSCALL(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair));
  return {kj::AutoCloseFd(pair[0]), kj::AutoCloseFd(pair[1])};
}

SessionSocket::SessionSocket(kj::UnixEventPort& port, kj::AutoCloseFd socketParam)
    : socket(kj::mv(socketParam)),
      observer(port, socket, kj::UnixEventPort::FdObserver::OBSERVE_READ),
      buffer(kj::heapArray<capnp::word>(MAX_PACKET / sizeof(capnp::word))) {}

kj::Promise<kj::Maybe<ToShim::Reader>> SessionSocket::receive() {
  for (;;) {
    // Asked for before reading: the observer tells of edges only.
    auto readable = observer.whenBecomesReadable();
    ssize_t count;
    do {
      // Without room for them, descriptors are closed by the kernel.
      count = recv(socket, buffer.begin(), MAX_PACKET, MSG_DONTWAIT | MSG_TRUNC);
    } while (count < 0 && errno == EINTR);
    if (count > 0) co_return parse(count);
    if (count == 0 || errno != EAGAIN) co_return nullptr;
    co_await readable;
  }
}

kj::Maybe<ToShim::Reader> SessionSocket::parse(size_t bytes) {
  if (bytes > MAX_PACKET || bytes % sizeof(capnp::word) != 0) return nullptr;
  kj::Maybe<ToShim::Reader> result;
  kj::runCatchingExceptions([&]() {
    auto words = buffer.slice(0, bytes / sizeof(capnp::word));
    message = nullptr;
    auto& reader = message.emplace(words, READER_OPTIONS);
    result = reader.getRoot<ToShim>();
  });
  return result;
}

bool SessionSocket::send(capnp::MessageBuilder& message, kj::ArrayPtr<const int> descriptors) {
  KJ_REQUIRE(descriptors.size() <= MAX_DESCRIPTORS);
  auto words = capnp::messageToFlatArray(message);
  auto bytes = words.asBytes();
  KJ_REQUIRE(bytes.size() <= MAX_PACKET);
  iovec part{bytes.begin(), bytes.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * MAX_DESCRIPTORS)] = {};
  if (descriptors.size() > 0) {
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(sizeof(int) * descriptors.size());
    auto rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int) * descriptors.size());
    memcpy(CMSG_DATA(rights), descriptors.begin(), sizeof(int) * descriptors.size());
  }
  ssize_t count;
  do {
    count = sendmsg(socket, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (count < 0 && errno == EINTR);
  return count == ssize_t(bytes.size());
}

bool SessionSocket::sendStarted(const Streams& streams) {
  capnp::MallocMessageBuilder message;
  auto started = message.initRoot<FromShim>().initStarted();
  kj::Vector<int> descriptors;
  auto add = [&](const kj::AutoCloseFd& fd) {
    if (fd.get() >= 0) descriptors.add(fd.get());
    return fd.get() >= 0;
  };
  started.setStdin(add(streams.in));
  started.setStdout(add(streams.out));
  started.setStderr(add(streams.err));
  return send(message, descriptors);
}

bool SessionSocket::sendFailed(const FailureValue& failure) {
  capnp::MallocMessageBuilder message;
  writeFailure(failure, message.initRoot<FromShim>().initFailed());
  return send(message);
}

}  // namespace belay::shim
