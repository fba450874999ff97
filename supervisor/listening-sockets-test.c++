// Tests of listening-sockets.h and acceptor.h: sockets from outside, and connections from them.
#include "supervisor/listening-sockets.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <kj/debug.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "snapshot/failure.h"
#include "supervisor/acceptor.h"

namespace belay::supervisor {
namespace {

// A Unix socket at an address that the kernel chooses.
kj::AutoCloseFd newUnix(int type = SOCK_STREAM) {
  int fd;
  KJ_SYSCALL(fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  sockaddr_un address{.sun_family = AF_UNIX};
  KJ_SYSCALL(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(sa_family_t)));
  return kj::AutoCloseFd(fd);
}

kj::AutoCloseFd listening(kj::AutoCloseFd fd) {
  KJ_SYSCALL(listen(fd, 10));
  return fd;
}

kj::AutoCloseFd newTcp() {
  int fd;
  KJ_SYSCALL(fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  KJ_SYSCALL(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)));
  return kj::AutoCloseFd(fd);
}

class ListeningSocketsTest : public testing::Test {
 protected:
  ~ListeningSocketsTest() noexcept override {}

  Config config;
  kj::Vector<GivenDescriptor> given;

  void add(kj::StringPtr name, kj::AutoCloseFd fd) {
    given.add(GivenDescriptor{kj::str(name), kj::mv(fd)});
  }

  // The sentence of the refusal.
  std::string refusal() {
    KJ_IF_MAYBE (exception,
                 kj::runCatchingExceptions([&] { takeListeningSockets(given, config); })) {
      EXPECT_EQ(snapshot::Code::FAILED_PRECONDITION, snapshot::codeOf(*exception));
      return snapshot::messageOf(*exception).cStr();
    }
    return "";
  }
};

TEST_F(ListeningSocketsTest, AreTakenByTheirNames) {
  add("abc/stdout", newUnix());
  add("cri", listening(newUnix()));
  add("streaming", listening(newTcp()));
  add("admin", listening(newUnix()));
  auto sockets = takeListeningSockets(given, config);
  for (auto* one : {&sockets.cri, &sockets.streaming, &sockets.admin}) {
    ASSERT_TRUE(*one != nullptr);
    EXPECT_NE(0, fcntl(KJ_ASSERT_NONNULL(*one), F_GETFL) & O_NONBLOCK);
  }
  ASSERT_EQ(1, given.size());
  EXPECT_STREQ("abc/stdout", given[0].name.cStr());
}

TEST_F(ListeningSocketsTest, OthersThanTheirNamesSayAreRefused) {
  struct Wrong {
    kj::StringPtr name;
    kj::AutoCloseFd fd;
    const char* words;
  };
  Wrong all[] = {{"cri", kj::AutoCloseFd(open("/dev/null", O_RDONLY | O_CLOEXEC)), "is no socket"},
                 {"cri", newUnix(), "does not listen"},
                 {"admin", newUnix(SOCK_DGRAM), "is no stream socket"},
                 {"cri", listening(newTcp()), "is no Unix socket"},
                 {"streaming", listening(newUnix()), "is no TCP socket"}};
  for (auto& wrong : all) {
    given.clear();
    add(wrong.name, kj::mv(wrong.fd));
    auto sentence = refusal();
    EXPECT_NE(std::string::npos, sentence.find(wrong.words)) << sentence;
    EXPECT_NE(std::string::npos, sentence.find(wrong.name.cStr())) << sentence;
  }
}

TEST_F(ListeningSocketsTest, ANameComesOnce) {
  add("cri", listening(newUnix()));
  add("cri", listening(newUnix()));
  EXPECT_NE(std::string::npos, refusal().find("second"));
}

TEST_F(ListeningSocketsTest, StreamingFitsTheConfiguration) {
  for (auto address : {"127.0.0.1:1", "127.0.0.2:0", "[::1]:0"}) {
    given.clear();
    config.streamingAddress = kj::str(address);
    add("streaming", listening(newTcp()));
    EXPECT_NE(std::string::npos, refusal().find(address));
  }
}

TEST(Acceptor, LeavesConnectionsToTheNext) {
  auto io = kj::setupAsyncIo();
  auto listener = listening(newUnix());
  KJ_SYSCALL(fcntl(listener, F_SETFL, O_NONBLOCK));
  sockaddr_un address;
  socklen_t size = sizeof(address);
  KJ_SYSCALL(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size));
  kj::Vector<kj::AutoCloseFd> clients;
  auto connect = [&] {
    int fd;
    KJ_SYSCALL(fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    clients.add(kj::AutoCloseFd(fd));
    KJ_SYSCALL(::connect(fd, reinterpret_cast<sockaddr*>(&address), size));
  };
  uint accepted = 0;
  auto newAcceptor = [&] {
    return kj::heap<Acceptor>(*io.lowLevelProvider, io.unixEventPort, io.provider->getTimer(),
                              listener, [&](auto) { ++accepted; });
  };
  auto acceptor = newAcceptor();
  connect();
  connect();
  while (accepted < 2)
    io.provider->getTimer().afterDelay(1 * kj::MILLISECONDS).wait(io.waitScope);
  acceptor = nullptr;
  connect();
  EXPECT_EQ(2, accepted);
  acceptor = newAcceptor();
  EXPECT_EQ(3, accepted);
}

}  // namespace
}  // namespace belay::supervisor
