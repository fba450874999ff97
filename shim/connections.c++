// Implementation of connections.h.
#include "shim/connections.h"

#include <capnp/rpc-twoparty.h>
#include <errno.h>
#include <kj/debug.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "shim/record.h"

namespace belay::shim {
namespace {

// Calls under way on one connection may hold this much: the socket is not read meanwhile.
constexpr size_t FLOW_LIMIT_WORDS = 1 << 20;

// One message: a container's spec with its seccomp program is some KiB.
constexpr capnp::ReaderOptions READER_OPTIONS{.traversalLimitInWords = 1 << 20, .nestingLimit = 32};

bool isTrusted(int socket) {
  struct ucred peer;
  socklen_t size = sizeof(peer);
  KJ_SYSCALL(getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size));
  return peer.uid == 0 || peer.uid == geteuid();
}

}  // namespace

Connections::Connections(kj::LowLevelAsyncIoProvider& provider, kj::UnixEventPort& port,
                         capnp::Capability::Client bootstrap)
    : provider(provider), port(port), bootstrap(kj::mv(bootstrap)), tasks(*this) {}

void Connections::serve(kj::AutoCloseFd socket) {
  tasks.add(serveUntilClosed(kj::mv(socket)));
}

kj::Promise<void> Connections::serveUntilClosed(kj::AutoCloseFd socket) {
  auto stream = provider.wrapUnixSocketFd(kj::mv(socket));
  capnp::TwoPartyVatNetwork network(*stream, MAX_FDS_PER_MESSAGE,
                                    capnp::rpc::twoparty::Side::SERVER, READER_OPTIONS);
  auto rpc = capnp::makeRpcServer(network, bootstrap);
  rpc.setFlowLimit(FLOW_LIMIT_WORDS);
  co_await network.onDisconnect();
}

void Connections::listen(int dirFd, kj::StringPtr name) {
  removeFile(dirFd, name);
  struct sockaddr_un address{};
  address.sun_family = AF_UNIX;
  int length = snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", dirFd,
                        name.cStr());
  KJ_REQUIRE(length > 0 && size_t(length) < sizeof(address.sun_path), "socket name too long", name);

  int fd;
  KJ_SYSCALL(fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  kj::AutoCloseFd socket(fd);
  mode_t before = umask(0177);
  KJ_DEFER(umask(before));
  KJ_SYSCALL(bind(fd, reinterpret_cast<struct sockaddr*>(&address), sizeof(address)), name);
  KJ_SYSCALL(::listen(fd, SOMAXCONN));
  listenOn(kj::mv(socket));
}

void Connections::listenOn(kj::AutoCloseFd socket) {
  listener = kj::mv(socket);
  listening = acceptAll().eagerlyEvaluate([](kj::Exception&& exception) {
    KJ_LOG(ERROR, "no more connections are accepted", exception);
  });
}

kj::Promise<void> Connections::acceptAll() {
  kj::UnixEventPort::FdObserver observer(port, listener,
                                         kj::UnixEventPort::FdObserver::OBSERVE_READ);
  for (;;) {
    auto readable = observer.whenBecomesReadable();
    for (;;) {
      int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
      if (fd >= 0) {
        kj::AutoCloseFd socket(fd);
        if (isTrusted(socket)) serve(kj::mv(socket));
        continue;
      }
      if (errno == EAGAIN) break;
      // The peer has gone, or descriptors are short: others may still come.
      if (errno != ECONNABORTED && errno != EINTR) {
        KJ_LOG(WARNING, "cannot accept a connection", strerror(errno));
        break;
      }
    }
    co_await readable;
  }
}

void Connections::taskFailed(kj::Exception&& exception) {
  if (exception.getType() == kj::Exception::Type::DISCONNECTED) return;
  KJ_LOG(WARNING, "a connection failed", exception);
}

}  // namespace belay::shim
