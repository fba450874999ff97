// Port-forwards over SPDY.
#include "criapi/streaming/port-forward.h"

#include "criapi/streaming/session-fixture.h"

namespace belay::criapi::streaming {
namespace {

class PortForwardTest : public SpdyFixture {
 public:
  ~PortForwardTest() noexcept override {}

 protected:
  void begin() {
    upgrade("/portforward/abc", "portforward.k8s.io");
    grant(Kind::PORT_FORWARD, true, [](Grant::Builder grant) { grant.initPortForward(0); });
    EXPECT_NE(readUntil("\r\n\r\n").find("X-Stream-Protocol-Version: portforward.k8s.io\r\n"),
              std::string::npos);
  }

  HeaderList headers(const std::string& type, const std::string& port, const std::string& id) {
    HeaderList list{{"streamtype", type}, {"port", port}};
    if (!id.empty()) list.push_back({"requestid", id});
    return list;
  }

  // As kubectl does it: the error stream is half-closed at once.
  void openPair(uint32_t errorId, const std::string& port, const std::string& request) {
    sendBytes(synStream(errorId, headers("error", port, request)) + data(errorId, "", true));
    sendBytes(synStream(errorId + 2, headers("data", port, request)));
    until([&]() { return seen[errorId].replied && seen[errorId + 2].replied; });
  }

  // The shim's answer: a connection whose other end is returned.
  kj::Own<kj::AsyncIoStream> acceptDial(uint16_t port) {
    auto packet = fromSession();
    auto dial = packet->as<shim::ToShim>().getDial();
    EXPECT_EQ(dial.getPort(), port);
    int ends[2];
    KJ_SYSCALL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends));
    auto fds = kj::heapArrayBuilder<kj::AutoCloseFd>(1);
    fds.add(kj::AutoCloseFd(ends[1]));
    fromShim([&](shim::FromShim::Builder message) { message.initDialed().setId(dial.getId()); },
             fds.finish());
    return io.lowLevelProvider->wrapSocketFd(kj::AutoCloseFd(ends[0]));
  }

  std::string readSome(kj::AsyncInputStream& stream, size_t bytes) {
    std::string text(bytes, '\0');
    text.resize(wait(stream.tryRead(text.data(), bytes, bytes)));
    return text;
  }
};

TEST_F(PortForwardTest, CarriesBytesBothWaysAndHalfCloses) {
  begin();
  openPair(1, "8080", "0");
  sendBytes(data(3, "request"));
  auto server = acceptDial(8080);
  EXPECT_EQ(readSome(*server, 7), "request");
  sendBytes(data(3, "", true));
  EXPECT_EQ(readSome(*server, 1), "");
  wait(server->write("answer", 6));
  server = nullptr;
  until([&]() { return seen[3].ended && seen[1].ended; });
  EXPECT_EQ(seen[3].data, "answer");
  EXPECT_EQ(seen[1].data, "");
  EXPECT_FALSE(seen[3].reset);
}

TEST_F(PortForwardTest, TellsWhyThereIsNoConnection) {
  begin();
  openPair(1, "81", "0");
  auto packet = fromSession();
  fromShim([&](shim::FromShim::Builder message) {
    auto failed = message.initDialFailed();
    failed.setId(packet->as<shim::ToShim>().getDial().getId());
    failed.initFailure().setMessage("nobody listens on port 81");
  });
  until([&]() { return seen[1].ended && seen[3].reset; });
  EXPECT_EQ(seen[1].data, "nobody listens on port 81");
  // The next one works.
  openPair(5, "82", "1");
  auto server = acceptDial(82);
  wait(server->write("hello", 5));
  until([&]() { return seen[7].data == "hello"; });
}

TEST_F(PortForwardTest, CarriesManyConnectionsAtOnce) {
  begin();
  constexpr uint32_t COUNT = 16;
  for (uint32_t i = 0; i < COUNT; ++i)
    openPair(1 + 4 * i, "8080", std::to_string(i));
  std::vector<kj::Own<kj::AsyncIoStream>> servers;
  for (uint32_t i = 0; i < COUNT; ++i)
    servers.push_back(acceptDial(8080));
  for (uint32_t i = 0; i < COUNT; ++i) {
    auto text = std::to_string(i);
    wait(servers[i]->write(text.data(), text.size()));
  }
  until([&]() {
    for (uint32_t i = 0; i < COUNT; ++i)
      if (seen[3 + 4 * i].data != std::to_string(i)) return false;
    return true;
  });
}

TEST_F(PortForwardTest, PairsStreamsOfOldClientsByTheirIds) {
  begin();
  openPair(1, "8080", "");
  acceptDial(8080);
  until([&]() { return seen[1].ended; });
}

TEST_F(PortForwardTest, RefusesPortsThatAreNone) {
  begin();
  uint32_t id = 1;
  for (const char* port : {"0", "65536", "-1", "", "80x", "99999999999"}) {
    sendBytes(synStream(id, headers("error", port, std::to_string(id))));
    until([&]() { return seen[id].reset; });
    id += 2;
  }
}

TEST_F(PortForwardTest, DoesNotWaitForEverForTheSecondStream) {
  settings.streamTimeout = 20 * kj::MILLISECONDS;
  begin();
  sendBytes(synStream(1, headers("error", "80", "0")));
  until([&]() { return seen[1].ended; });
  EXPECT_NE(seen[1].data.find("second stream"), std::string::npos);
}

TEST_F(PortForwardTest, ConnectionsOutliveTheShim) {
  begin();
  openPair(1, "8080", "0");
  auto server = acceptDial(8080);
  shimSocket = nullptr;
  openPair(5, "8080", "1");
  until([&]() { return seen[5].ended; });
  EXPECT_NE(seen[5].data.find("went away"), std::string::npos);
  wait(server->write("still", 5));
  until([&]() { return seen[3].data == "still"; });
}

}  // namespace
}  // namespace belay::criapi::streaming
