// Tests of the server against clients that send too much, read too little or speak no HTTP/2.
#include "criapi/grpc/server-fixture.h"

namespace belay::criapi::grpc {

namespace {

constexpr uint32_t ENHANCE_YOUR_CALM = 11;

using ServerAbuseTest = ServerTest;

TEST_F(ServerAbuseTest, RefusesTooMuchMetadata) {
  options.maxHeaderListBytes = 4096;
  auto client = connect();
  auto headers = TestClient::headersOf("/t.S/Echo");
  for (int i = 0; i < 5; ++i)
    headers.emplace_back("x-large", std::string(1000, 'x'));
  auto id = client->call(headers, std::string(5, '\0'));
  auto next = client->call("/t.S/Echo", "small");
  settle();
  EXPECT_EQ(client->reply(id).status(), int(Code::RESOURCE_EXHAUSTED));
  EXPECT_EQ(client->reply(next).status(), 0);
}

TEST_F(ServerAbuseTest, ClosesTheConnectionOfAClientThatOnlyAborts) {
  options.resetBurst = 10;
  options.resetsPerSecond = 1;
  auto client = connect();
  for (int i = 0; i < 10; ++i) {
    client->reset(client->call("/t.S/Hold", ""));
    settle();
  }
  EXPECT_TRUE(client->goAways.empty());
  pass(1 * kj::SECONDS);
  client->reset(client->call("/t.S/Hold", ""));
  settle();
  EXPECT_TRUE(client->goAways.empty());
  client->reset(client->call("/t.S/Hold", ""));
  settle();
  ASSERT_EQ(client->goAways.size(), 1u);
  EXPECT_EQ(client->goAways[0].first, ENHANCE_YOUR_CALM);
  EXPECT_TRUE(client->isClosed);
  EXPECT_EQ(dropped, started);
}

TEST_F(ServerAbuseTest, RefusesMoreCallsAtOnceThanAllowed) {
  options.maxConcurrentCalls = 3;
  auto client = connect();
  settle();  // the client has acknowledged the limit
  for (int i = 0; i < 3; ++i)
    client->call("/t.S/Hold", "");
  settle();
  client->call("/t.S/Hold", "");
  settle();
  EXPECT_EQ(started, 3u);
}

TEST_F(ServerAbuseTest, CapsTheBytesItHoldsForAllConnections) {
  options.maxBufferedBytes = 10'000;
  auto first = connect(), second = connect();
  auto large = std::string("\0\0\0\x40\0", 5) + std::string(6000, 'x');  // unfinished
  auto headers = TestClient::headersOf("/t.S/Echo");
  headers.emplace_back("grpc-timeout", "1S");
  auto one = first->call(headers, large);
  settle();
  EXPECT_EQ(first->reply(one).status(), int(Code::INTERNAL));  // it ends mid-message

  auto hold = first->call("/t.S/Hold", std::string(6000, 'x'));
  settle();
  auto refused = second->call("/t.S/Echo", std::string(6000, 'x'));
  settle();
  EXPECT_EQ(second->reply(refused).status(), int(Code::RESOURCE_EXHAUSTED));
  first->reset(hold);
  settle();
  auto allowed = second->call("/t.S/Echo", std::string(3000, 'x'));
  settle();
  EXPECT_EQ(second->reply(allowed).status(), 0);
}

TEST_F(ServerAbuseTest, RefusesConnectionsAboveTheLimit) {
  options.maxConnections = 1;
  auto first = connect(), second = connect();
  settle();
  EXPECT_TRUE(second->isClosed);
  auto id = first->call("/t.S/Echo", "");
  settle();
  EXPECT_EQ(first->reply(id).status(), 0);
}

TEST_F(ServerAbuseTest, WaitsForAClientWhoseWindowIsFull) {
  auto client = connect();
  client->setWindow(100'000);
  auto id = client->call("/t.S/Flood", "");
  settle();
  // A connection's window is 65 535 bytes unless widened; 64 KiB and a message may be queued.
  EXPECT_EQ(client->reply(id).body.size(), 65'535u);
  EXPECT_LT(written, 140u);
  auto before = written;
  client->consume(id, 50'000);
  settle();
  EXPECT_EQ(client->reply(id).body.size(), 115'535u);
  EXPECT_GT(written, before + 40);
  EXPECT_LT(written, before + 60);
}

TEST_F(ServerAbuseTest, WaitsForAClientThatDoesNotReadItsConnection) {
  auto client = connect();
  settle();
  client->pause();
  client->call("/t.S/Flood", "");
  settle();
  EXPECT_GT(written, 0u);
  EXPECT_LT(written, 260u);
}

TEST_F(ServerAbuseTest, ClosesTheConnectionOfAClientThatPingsWithoutReading) {
  auto client = connect();
  settle();
  client->pause();
  for (int i = 0; i < 2000; ++i)
    client->ping();
  settle();
  EXPECT_EQ(server().connectionCount(), 0u);
}

// A client that has not seen the limit of calls is answered with RST_STREAM for each above it.
TEST_F(ServerAbuseTest, ClosesTheConnectionOfAClientThatCallsWithoutReading) {
  options.maxConcurrentCalls = 3;
  auto client = connect();
  client->pause();
  settle();  // SETTINGS are being written, and stay so
  for (int i = 0; i < 900; ++i)
    client->call("/t.S/Hold", "");
  settle();
  EXPECT_EQ(server().connectionCount(), 1u);
  for (int i = 0; i < 200; ++i)
    client->call("/t.S/Hold", "");
  settle();
  EXPECT_EQ(server().connectionCount(), 0u);
  EXPECT_EQ(started, 3u);
  EXPECT_EQ(dropped, 3u);
}

TEST_F(ServerAbuseTest, ClosesSilentConnectionsWhereKeepaliveIsOn) {
  options.keepaliveInterval = 10 * kj::SECONDS;
  options.keepaliveTimeout = 2 * kj::SECONDS;
  auto client = connect();
  pass(10 * kj::SECONDS);
  pass(10 * kj::SECONDS);
  EXPECT_EQ(client->pings, 1u);  // the first interval saw the connection's beginning
  pass(2 * kj::SECONDS);
  EXPECT_EQ(server().connectionCount(), 1u);
  client->pause();
  pass(10 * kj::SECONDS);
  pass(10 * kj::SECONDS);
  pass(2 * kj::SECONDS);
  EXPECT_EQ(server().connectionCount(), 0u);
}

TEST_F(ServerAbuseTest, SurvivesWhatIsNoHttp2) {
  auto pipe = kj::newTwoWayPipe();
  server().accept(kj::mv(pipe.ends[0]));
  auto text = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"_kj;
  auto writing = pipe.ends[1]->write(text.begin(), text.size());
  settle();
  EXPECT_EQ(server().connectionCount(), 0u);
}

// What KJ_LOG is given while it lives.
class LogListener final : public kj::ExceptionCallback {
 public:
  std::string text;
  void logMessage(kj::LogSeverity, const char*, int, int, kj::String&& message) override {
    text += message.cStr();
  }
};

TEST_F(ServerAbuseTest, SaysWhyItClosesTheConnectionOfAClientThatBreaksTheProtocol) {
  LogListener listener;
  auto pipe = kj::newTwoWayPipe();
  server().accept(kj::mv(pipe.ends[0]));
  // The preface, no settings, and a reset of a stream that was never opened, as grpc's C core sends
  // it when a call's deadline passes before the call was sent.
  auto text =
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
      "\0\0\0\4\0\0\0\0\0"
      "\0\0\4\3\0\0\0\0\7\0\0\0\10"_kj;
  auto writing = pipe.ends[1]->write(text.begin(), text.size());
  auto reading = pipe.ends[1]->readAllBytes();
  settle();
  EXPECT_EQ(server().connectionCount(), 0u);
  EXPECT_NE(listener.text.find("broke the protocol"), std::string::npos) << listener.text;
  EXPECT_NE(listener.text.find("frame of type 3 on stream 7"), std::string::npos) << listener.text;
}

// A regular connection's bytes with each byte changed in turn, or cut there: whatever HTTP/2 makes
// of it, the server goes on serving others and holds nothing back.
TEST_F(ServerAbuseTest, SurvivesEveryDamagedByte) {
  auto pipe = kj::newTwoWayPipe();
  TestClient source(kj::mv(pipe.ends[0]));
  auto headers = TestClient::headersOf("/t.S/Echo");
  headers.emplace_back("grpc-timeout", "1S");
  source.call(headers, std::string("\0\0\0\0\5hello", 10));
  kj::byte bytes[512];
  auto reading = pipe.ends[1]->tryRead(bytes, sizeof(bytes), sizeof(bytes));
  settle();
  pipe.ends[1]->abortRead();
  size_t size = source.sentBytes;
  ASSERT_GT(size, 100u);

  auto healthy = connect();
  for (size_t i = 0; i < size; ++i) {
    for (kj::byte change : {0x00, 0x01, 0x04, 0x20, 0x80, 0xFF}) {
      auto broken = kj::newTwoWayPipe();
      server().accept(kj::mv(broken.ends[0]));
      auto damaged = kj::heapArray<kj::byte>(bytes, change == 0 ? i : size);
      if (change != 0) damaged[i] ^= change;
      auto writing = broken.ends[1]->write(damaged.begin(), damaged.size());
      settle();
    }
  }
  pass(2 * kj::SECONDS);
  EXPECT_EQ(server().connectionCount(), 1u);
  auto id = healthy->call("/t.S/Echo", "still here");
  settle();
  EXPECT_EQ(healthy->reply(id).status(), 0);
}

}  // namespace

}  // namespace belay::criapi::grpc
