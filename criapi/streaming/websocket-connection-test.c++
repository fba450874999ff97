// Whole execs over WebSocket, and SPDY in its tunnel.
#include "criapi/streaming/websocket-connection.h"

#include <nlohmann/json.hpp>

#include "criapi/streaming/session-fixture.h"

namespace belay::criapi::streaming {
namespace {

using nlohmann::json;

constexpr int CONTINUATION = 0, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10;

class WebSocketTest : public SessionFixture {
 public:
  ~WebSocketTest() noexcept override {}

 protected:
  struct Frame {
    int opcode;
    std::string payload;
  };

  void upgrade(const std::string& path, const std::string& protocols) {
    start();
    send(kj::str("GET ", path.c_str(),
                 " HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\n"
                 "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: ",
                 protocols.c_str(), "\r\n\r\n"));
  }

  void begin(Wanted wanted, const std::string& protocol = "v5.channel.k8s.io") {
    upgrade("/exec/abc", protocol);
    grantTerminal(Kind::EXEC, wanted);
    auto head = readUntil("\r\n\r\n");
    // The example of RFC 6455, 1.3.
    EXPECT_NE(head.find("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
              std::string::npos)
        << head;
    EXPECT_NE(head.find("Sec-WebSocket-Protocol: " + protocol + "\r\n"), std::string::npos);
  }

  static std::string frame(int opcode, const std::string& payload, bool fin = true) {
    const char mask[4] = {1, 2, 3, 4};
    std::string bytes(1, char((fin ? 0x80 : 0) | opcode));
    if (payload.size() < 126) {
      bytes += char(0x80 | payload.size());
    } else {
      bytes += char(0x80 | 126);
      bytes += char(payload.size() >> 8);
      bytes += char(payload.size());
    }
    bytes.append(mask, 4);
    for (size_t i = 0; i < payload.size(); ++i)
      bytes += char(payload[i] ^ mask[i % 4]);
    return bytes;
  }

  static std::string message(int channel, const std::string& bytes) {
    return frame(BINARY, char(channel) + bytes);
  }

  void sendBytes(const std::string& bytes) { wait(client->write(bytes.data(), bytes.size())); }

  std::string readBytes(size_t count) {
    std::string bytes(count, '\0');
    if (count > 0) bytes.resize(wait(client->tryRead(bytes.data(), count, count)));
    EXPECT_EQ(bytes.size(), count) << "the server closed";
    return bytes;
  }

  Frame readFrame() {
    auto head = readBytes(2);
    size_t size = head[1] & 0x7f;
    EXPECT_EQ(head[1] & 0x80, 0) << "servers do not mask";
    if (size == 126) {
      auto more = readBytes(2);
      size = uint8_t(more[0]) << 8 | uint8_t(more[1]);
    }
    EXPECT_EQ(head[0] & 0xf0, 0x80);
    return {head[0] & 0xf, readBytes(size)};
  }

  // Messages until the close, by channel; pongs apart.
  std::map<int, std::string> readChannels() {
    std::map<int, std::string> channels;
    for (;;) {
      auto next = readFrame();
      if (next.opcode == CLOSE) {
        EXPECT_EQ(next.payload, std::string("\x03\xe8", 2));
        return channels;
      }
      EXPECT_EQ(next.opcode, BINARY);
      if (next.payload.empty()) return channels;
      channels[next.payload[0]] += next.payload.substr(1);
    }
  }

  void leave() {
    sendBytes(frame(CLOSE, std::string("\x03\xe8", 2)));
    client->shutdownWrite();
    EXPECT_EQ(readToEnd(), "");
    wait(kj::mv(session));
  }
};

TEST_F(WebSocketTest, SendsAnEmptyMessageOutputAndStatus) {
  Wanted wanted{.out = true, .err = true};
  begin(wanted);
  EXPECT_EQ(readFrame().payload, "\x01");
  startProcess(wanted);
  writeAll(processOut, "to out");
  writeAll(processErr, "to err");
  processOut = nullptr;
  processErr = nullptr;
  exited(3);
  auto channels = readChannels();
  EXPECT_EQ(channels[1], "to out");
  EXPECT_EQ(channels[2], "to err");
  EXPECT_EQ(json::parse(channels[3])["details"]["causes"][0]["message"], "3");
  leave();
}

TEST_F(WebSocketTest, TellsSuccess) {
  Wanted wanted;
  begin(wanted, "v4.channel.k8s.io");
  startProcess(wanted);
  processOut = nullptr;
  exited(0);
  EXPECT_EQ(json::parse(readChannels()[3])["status"], "Success");
  leave();
}

TEST_F(WebSocketTest, EndsStdinWithoutEndingTheSession) {
  Wanted wanted{.in = true};
  begin(wanted);
  startProcess(wanted);
  sendBytes(message(0, "input") + message(255, std::string(1, '\0')));
  EXPECT_EQ(readFd(processIn, 100), "input");
  // Output that comes after the input's end.
  writeAll(processOut, "late");
  processOut = nullptr;
  exited(0);
  EXPECT_EQ(readChannels()[1], "late");
  leave();
}

TEST_F(WebSocketTest, TakesFragmentsWithPingsBetweenThem) {
  Wanted wanted{.in = true};
  begin(wanted);
  EXPECT_EQ(readFrame().payload, "\x01");
  startProcess(wanted);
  auto bytes = frame(BINARY, std::string(1, '\0') + "one ", false) + frame(PING, "are you there") +
               frame(CONTINUATION, "two ", false) + frame(CONTINUATION, "three") +
               message(255, std::string(1, '\0'));
  // And byte by byte.
  for (char byte : bytes)
    sendBytes(std::string(1, byte));
  EXPECT_EQ(readFd(processIn, 100), "one two three");
  auto pong = readFrame();
  EXPECT_EQ(pong.opcode, PONG);
  EXPECT_EQ(pong.payload, "are you there");
}

TEST_F(WebSocketTest, RefusesFramesThatAreNotMasked) {
  Wanted wanted{.in = true};
  begin(wanted);
  EXPECT_EQ(readFrame().payload, "\x01");
  startProcess(wanted);
  sendBytes(std::string("\x82\x02\x00x", 4));
  auto close = readFrame();
  EXPECT_EQ(close.opcode, CLOSE);
  EXPECT_EQ(close.payload.substr(0, 2), std::string("\x03\xea", 2));
  EXPECT_EQ(readFd(processIn, 100), "");
}

TEST_F(WebSocketTest, RefusesFramesOfUnknownKinds) {
  Wanted wanted{.in = true};
  begin(wanted);
  EXPECT_EQ(readFrame().payload, "\x01");
  sendBytes(frame(13, "x"));
  EXPECT_EQ(readFrame().opcode, CLOSE);
}

TEST_F(WebSocketTest, PassesTerminalSizesOn) {
  Wanted wanted{.in = true, .tty = true};
  begin(wanted);
  // Before there is a process.
  sendBytes(message(4, R"({"Width":100,"Height":50})"));
  auto first = fromSession();
  bool startedFirst = first->as<shim::ToShim>().isStart();
  auto second = fromSession();
  auto resize = (startedFirst ? second : first)->as<shim::ToShim>().getResize();
  EXPECT_EQ(resize.getColumns(), 100);
  EXPECT_EQ(resize.getRows(), 50);
}

TEST_F(WebSocketTest, OutputGoesOnWhileInputHasNowhereToGo) {
  Wanted wanted{.in = true};
  begin(wanted);
  EXPECT_EQ(readFrame().payload, "\x01");
  startProcess(wanted);
  // More than the session keeps: from some point on it reads no more.
  std::string big(32 * 1024, 'x');
  kj::Vector<kj::Promise<void>> writes;
  std::string all;
  for (int i = 0; i < 128; ++i)
    all += message(0, big);
  auto writing = client->write(all.data(), all.size()).eagerlyEvaluate(nullptr);
  writeAll(processOut, "still here");
  // Somebody whose pings are not read hears from the session nevertheless.
  bool pong = false, output = false;
  while (!pong || !output) {
    auto next = readFrame();
    if (next.opcode == PONG) pong = true;
    if (next.opcode == BINARY && next.payload == "\x01still here") output = true;
  }
  EXPECT_FALSE(writing.poll(io.waitScope));
  // And all of it arrives in the end.
  auto input = io.lowLevelProvider->wrapInputFd(processIn.get());
  size_t total = 0;
  std::string buffer(65536, '\0');
  while (total < 128 * big.size())
    total += wait(input->tryRead(buffer.data(), 1, buffer.size()));
  wait(kj::mv(writing));
}

TEST_F(WebSocketTest, CarriesSpdyInATunnel) {
  upgrade("/portforward/abc", "SPDY/3.1+portforward.k8s.io");
  grant(Kind::PORT_FORWARD, true, [](Grant::Builder grant) { grant.initPortForward(0); });
  readUntil("\r\n\r\n");
  // A SPDY PING, cut anywhere.
  std::string ping("\x80\x03\x00\x06\x00\x00\x00\x04\x00\x00\x00\x07", 12);
  sendBytes(frame(BINARY, ping.substr(0, 5)) + frame(BINARY, ping.substr(5)));
  auto answer = readFrame();
  EXPECT_EQ(answer.opcode, BINARY);
  EXPECT_EQ(answer.payload, ping);
  sendBytes(frame(CLOSE, std::string("\x03\xe8", 2)));
  EXPECT_EQ(readFrame().opcode, CLOSE);
  client->shutdownWrite();
  wait(kj::mv(session));
}

}  // namespace
}  // namespace belay::criapi::streaming
