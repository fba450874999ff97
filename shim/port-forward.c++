// Implementation of port-forward.h.
#include "shim/port-forward.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "shim/session-socket.h"
#include "shim/stdio/wakeup.h"
#include "shim/sys/netns.h"

namespace belay::shim {
namespace {

// A program that has a port open but does not accept: its backlog is full.
constexpr kj::Duration CONNECT_LIMIT = 10 * kj::SECONDS;

// Connections of one session on their way; more have to wait.
constexpr uint MAX_DIALING = 64;

struct Address {
  sockaddr_storage storage;
  socklen_t size;
  const char* name;

  int family() const { return storage.ss_family; }
};

Address ipv4Loopback(uint16_t port) {
  Address address{{}, sizeof(sockaddr_in), "127.0.0.1"};
  auto& in = reinterpret_cast<sockaddr_in&>(address.storage);
  in.sin_family = AF_INET;
  in.sin_port = htons(port);
  in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

Address ipv6Loopback(uint16_t port) {
  Address address{{}, sizeof(sockaddr_in6), "[::1]"};
  auto& in = reinterpret_cast<sockaddr_in6&>(address.storage);
  in.sin6_family = AF_INET6;
  in.sin6_port = htons(port);
  in.sin6_addr = IN6ADDR_LOOPBACK_INIT;
  return address;
}

class PortForwardSession final : private Session, private kj::TaskSet::ErrorHandler {
 public:
  PortForwardSession(ShimContext& context, kj::AutoCloseFd socket, int netns)
      : context(context),
        session(context.engine.eventPort, kj::mv(socket)),
        netns(netns),
        tasks(*this) {
    context.sessions.add(*this);
  }
  ~PortForwardSession() noexcept(false) { context.sessions.remove(*this); }
  KJ_DISALLOW_COPY_AND_MOVE(PortForwardSession);

  kj::Promise<void> serve() {
    for (;;) {
      auto received = co_await session.receive();
      KJ_IF_MAYBE (packet, received) {
        if (!packet->isDial()) continue;
        auto request = packet->getDial();
        dialing++;
        tasks.add(dial(request.getId(), request.getPort()));
        while (dialing >= MAX_DIALING)
          co_await oneDone.wait();
      } else {
        co_return;
      }
    }
  }

 private:
  ShimContext& context;
  SessionSocket session;
  int netns;
  uint dialing = 0;
  Wakeup oneDone;
  kj::TaskSet tasks;

  void handOver(Handover::Session::Builder state) const override {
    state.setSocket(session.getFd());
    state.setPortForward();
  }

  kj::Promise<void> dial(uint32_t id, uint16_t number) {
    Work work(context.work);
    KJ_DEFER({
      dialing--;
      oneDone.notify();
    });
    kj::AutoCloseFd connected;
    auto first = ipv4Loopback(number);
    int firstError = co_await connect(first, connected);
    if (firstError != 0) {
      auto second = ipv6Loopback(number);
      int secondError = co_await connect(second, connected);
      if (secondError != 0) {
        // What is wrong with the one that nearly everybody means is the better code.
        auto detail = kj::str(first.name, "; ", second.name, ": ", strerror(secondError));
        sendFailed(id, systemFailure("connect to port", kj::str(number, " in the pod"), firstError,
                                     detail));
        co_return;
      }
    }
    capnp::MallocMessageBuilder message;
    message.initRoot<FromShim>().initDialed().setId(id);
    int descriptor = connected;
    session.send(message, kj::arrayPtr(&descriptor, 1));
  }

  // 0 and the socket, or errno.
  kj::Promise<int> connect(const Address& address, kj::AutoCloseFd& result) {
    int fd = sys::newSocketIn(netns, address.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) co_return errno;
    kj::AutoCloseFd socket(fd);
    auto generic = reinterpret_cast<const sockaddr*>(&address.storage);
    if (::connect(socket, generic, address.size) < 0) {
      if (errno != EINPROGRESS) co_return errno;
      // Not before: a socket that connects to nothing counts as hung up.
      kj::UnixEventPort::FdObserver observer(context.engine.eventPort, socket,
                                             kj::UnixEventPort::FdObserver::OBSERVE_WRITE);
      bool late = false;
      co_await observer.whenBecomesWritable().exclusiveJoin(
          context.engine.timer.afterDelay(CONNECT_LIMIT).then([&late]() { late = true; }));
      if (late) co_return ETIMEDOUT;
      int error = 0;
      socklen_t size = sizeof(error);
      if (getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size) < 0) co_return errno;
      if (error != 0) co_return error;
    }
    result = kj::mv(socket);
    co_return 0;
  }

  void sendFailed(uint32_t id, const FailureValue& failure) {
    capnp::MallocMessageBuilder message;
    auto failed = message.initRoot<FromShim>().initDialFailed();
    failed.setId(id);
    writeFailure(failure, failed.initFailure());
    session.send(message);
  }

  void taskFailed(kj::Exception&& exception) override {
    KJ_LOG(ERROR, "a port-forward failed", exception);
  }
};

}  // namespace

kj::Promise<void> servePortForward(ShimContext& context, kj::AutoCloseFd socket, int netns) {
  PortForwardSession session(context, kj::mv(socket), netns);
  co_await session.serve();
}

}  // namespace belay::shim
