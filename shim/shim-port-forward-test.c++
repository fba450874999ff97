// Shim.portForward through the real binary: into the pod's network, by IPv4 and IPv6.
#include <arpa/inet.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shim/session-test-client.h"
#include "shim/sys/netns.h"

namespace belay::shim {
namespace {

class ShimPortForwardTest : public ShimSessionTest {
 protected:
  struct Listener {
    kj::AutoCloseFd socket;
    uint16_t port;
  };

  // A listener on the loopback address of the pod's network, or of the host's.
  Listener listen(int family, bool inPod = true, int backlog = 64) {
    kj::AutoCloseFd netns;
    if (inPod) {
      int fd;
      auto path = directory + "/netns/cni-test";
      KJ_SYSCALL(fd = open(path.c_str(), O_RDONLY | O_CLOEXEC), path.c_str());
      netns = kj::AutoCloseFd(fd);
    }
    int fd;
    KJ_SYSCALL(fd = sys::newSocketIn(netns, family, SOCK_STREAM | SOCK_CLOEXEC));
    Listener result{kj::AutoCloseFd(fd), 0};
    sockaddr_storage address{};
    address.ss_family = family;
    auto& four = reinterpret_cast<sockaddr_in&>(address);
    auto& six = reinterpret_cast<sockaddr_in6&>(address);
    socklen_t size = family == AF_INET ? sizeof(four) : sizeof(six);
    if (family == AF_INET) {
      four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    } else {
      six.sin6_addr = in6addr_loopback;
    }
    auto generic = reinterpret_cast<sockaddr*>(&address);
    KJ_SYSCALL(bind(fd, generic, size));
    KJ_SYSCALL(::listen(fd, backlog));
    KJ_SYSCALL(getsockname(fd, generic, &size));
    result.port = ntohs(family == AF_INET ? four.sin_port : six.sin6_port);
    return result;
  }

  static void expectConnected(TestSession& session, uint32_t id, int listener) {
    auto packet = session.receive();
    auto answer = packet.get();
    ASSERT_TRUE(answer.isDialed())
        << (answer.isDialFailed() ? answer.getDialFailed().getFailure().getMessage().cStr() : "");
    EXPECT_EQ(answer.getDialed().getId(), id);
    int fd;
    KJ_SYSCALL(fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
    kj::AutoCloseFd accepted(fd);
    writeAll(packet.descriptors[0], "ping\n");
    EXPECT_EQ(readUntil(accepted, "\n"), "ping\n");
    writeAll(accepted, "pong\n");
    accepted = nullptr;
    EXPECT_EQ(readAll(packet.descriptors[0]), "pong\n");
  }
};

TEST_F(ShimPortForwardTest, ConnectsByIPv4AndIPv6) {
  createPod();
  auto session = portForward();
  auto four = listen(AF_INET);
  session->dial(7, four.port);
  expectConnected(*session, 7, four.socket);
  auto six = listen(AF_INET6);
  session->dial(8, six.port);
  expectConnected(*session, 8, six.socket);
}

TEST_F(ShimPortForwardTest, TheHostsNetworkIsNotThePods) {
  createPod();
  auto session = portForward();
  auto host = listen(AF_INET, false);
  session->dial(1, host.port);
  auto packet = session->receive();
  ASSERT_TRUE(packet.get().isDialFailed());
  auto failed = packet.get().getDialFailed();
  EXPECT_EQ(failed.getId(), 1u);
  EXPECT_NE(std::string(failed.getFailure().getMessage().cStr()).find("Connection refused"),
            std::string::npos);
  // The shim has come back to the host's network.
  char own[64] = {}, its[64] = {};
  KJ_SYSCALL(readlink("/proc/self/ns/net", own, sizeof(own) - 1));
  KJ_SYSCALL(readlink(kj::str("/proc/", shimPid, "/ns/net").cStr(), its, sizeof(its) - 1));
  EXPECT_STREQ(own, its);
}

TEST_F(ShimPortForwardTest, AHostNetworkPodIsDialedInTheHosts) {
  createPod([](PodSpec::Builder spec) {
    spec.setNetwork(NamespaceMode::NODE);
    spec.setNetnsPath("");
    spec.setHostname("");
  });
  auto session = portForward();
  auto host = listen(AF_INET, false);
  session->dial(1, host.port);
  expectConnected(*session, 1, host.socket);
}

TEST_F(ShimPortForwardTest, ManyConnectionsOfOneSession) {
  createPod();
  auto session = portForward();
  auto four = listen(AF_INET);
  constexpr uint COUNT = 200;
  for (uint i = 0; i < COUNT; i++) {
    session->dial(i, four.port);
    // Accepted at once, so that the backlog has room.
    auto packet = session->receive();
    ASSERT_TRUE(packet.get().isDialed());
    EXPECT_EQ(packet.get().getDialed().getId(), i);
    int fd;
    KJ_SYSCALL(fd = accept4(four.socket, nullptr, nullptr, SOCK_CLOEXEC));
    kj::AutoCloseFd accepted(fd);
  }
}

TEST_F(ShimPortForwardTest, AProgramThatDoesNotAcceptHoldsUpNobody) {
  createPod();
  auto session = portForward();
  auto deaf = listen(AF_INET, true, 0);
  auto good = listen(AF_INET);
  kj::Vector<TestSession::Packet> open;
  session->dial(0, deaf.port);
  open.add(session->receive());
  for (uint i = 1; i <= 10; i++)
    session->dial(i, deaf.port);
  session->dial(100, good.port);
  // The backlog takes some; the rest is still on its way.
  for (;;) {
    auto packet = session->receive();
    ASSERT_TRUE(packet.get().isDialed());
    if (packet.get().getDialed().getId() == 100) break;
    open.add(kj::mv(packet));
  }
  session->hangUp();
}

TEST_F(ShimPortForwardTest, NothingIsLeft) {
  createPod();
  auto before = countShimDescriptors();
  auto four = listen(AF_INET, true, 0);
  for (int i = 0; i < 20; i++) {
    auto session = portForward();
    for (uint id = 0; id < 100; id++)
      session->dial(id, i % 2 == 0 ? four.port : 1);
    if (i % 4 == 0) session->sendRaw("no message"_kj.asBytes());
  }
  awaitDescriptors(before);
}

TEST_F(ShimPortForwardTest, NeedsAPod) {
  expectFailed(await(shim().portForwardRequest().send()).getOutcome(),
               Failure::Code::FAILED_PRECONDITION);
}

}  // namespace
}  // namespace belay::shim
