// Whole sessions in one process: the test plays client, belayd and shim, on real sockets and pipes.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <kj/async-io.h>
#include <kj/debug.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#include <map>
#include <string>

#include "criapi/streaming/serve.h"
#include "criapi/streaming/session.capnp.h"
#include "criapi/streaming/spdy-connection.h"
#include "criapi/streaming/spdy-dictionary.h"
#include "shim/packet.h"
#include "shim/session.capnp.h"

namespace belay::criapi::streaming {

// A session that serves `client`, whose other two ends are `daemon` and, once granted, `shim`.
class SessionFixture : public ::testing::Test {
 public:
  ~SessionFixture() noexcept override {}

 protected:
  // Long enough for any machine: only a test that has failed waits for it.
  static constexpr auto DEADLINE = 60 * kj::SECONDS;

  kj::AsyncIoContext io = kj::setupAsyncIo();
  SessionSettings settings;
  kj::Own<kj::AsyncIoStream> client;
  kj::Own<shim::PacketSocket> daemon, shimSocket;
  kj::Promise<void> session = nullptr;

  void SetUp() override {
    int connection[2], control[2];
    KJ_SYSCALL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, connection));
    KJ_SYSCALL(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control));
    client = io.lowLevelProvider->wrapSocketFd(kj::AutoCloseFd(connection[0]));
    daemon =
        kj::heap<shim::PacketSocket>(io.unixEventPort, kj::AutoCloseFd(control[0]), MAX_PACKET);
    serverEnd = io.lowLevelProvider->wrapSocketFd(kj::AutoCloseFd(connection[1]));
    daemonEnd = kj::AutoCloseFd(control[1]);
  }

  // After the settings have been changed.
  void start() {
    session = serve(io.unixEventPort, io.provider->getTimer(), kj::mv(serverEnd), kj::mv(daemonEnd),
                    settings)
                  .eagerlyEvaluate(nullptr);
  }

  template <typename T>
  T wait(kj::Promise<T> promise) {
    return promise
        .exclusiveJoin(io.provider->getTimer().afterDelay(DEADLINE).then([]() -> T {
          kj::throwFatalException(KJ_EXCEPTION(FAILED, "nothing happened within the deadline"));
        }))
        .wait(io.waitScope);
  }

  void send(kj::StringPtr text) { wait(client->write(text.begin(), text.size())); }

  // What the server has sent up to and with `end`.
  std::string readUntil(const std::string& end) {
    std::string text;
    while (text.size() < end.size() || text.compare(text.size() - end.size(), end.size(), end)) {
      char byte;
      if (wait(client->tryRead(&byte, 1, 1)) == 0) {
        ADD_FAILURE() << "the server closed after: " << text;
        break;
      }
      text += byte;
    }
    return text;
  }

  std::string readToEnd() {
    std::string text;
    char buffer[4096];
    while (size_t count = wait(client->tryRead(buffer, 1, sizeof(buffer))))
      text.append(buffer, count);
    return text;
  }

  // belayd's side: the question, and the answer as `fill` makes it.
  template <typename Fill>
  std::string grant(Kind kind, bool withShim, Fill fill) {
    auto packet = KJ_ASSERT_NONNULL(wait(daemon->receive()), "no Redeem came");
    EXPECT_EQ(packet->as<Redeem>().getKind(), kind);
    std::string token = packet->as<Redeem>().getToken().cStr();
    capnp::MallocMessageBuilder message;
    fill(message.initRoot<Grant>());
    kj::Vector<kj::AutoCloseFd> fds;
    if (withShim) {
      int pair[2];
      KJ_SYSCALL(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
      shimSocket = kj::heap<shim::PacketSocket>(io.unixEventPort, kj::AutoCloseFd(pair[0]),
                                                shim::MAX_PACKET);
      fds.add(kj::AutoCloseFd(pair[1]));
    }
    wait(daemon->send(message, fds.releaseAsArray()));
    daemon = nullptr;
    return token;
  }

  struct Wanted {
    bool in = false, out = true, err = false, tty = false, exitCode = true;
  };
  void grantTerminal(Kind kind, Wanted wanted) {
    grant(kind, true, [&](Grant::Builder grant) {
      auto streams = grant.initTerminal();
      streams.setStdin(wanted.in);
      streams.setStdout(wanted.out);
      streams.setStderr(wanted.err);
      streams.setTty(wanted.tty);
      streams.setHasExitCode(wanted.exitCode);
    });
  }

  kj::Own<shim::Packet> fromSession() {
    return KJ_ASSERT_NONNULL(wait(shimSocket->receive()), "the session hung up on the shim");
  }

  template <typename Fill>
  void fromShim(Fill fill, kj::Array<kj::AutoCloseFd> fds = nullptr) {
    capnp::MallocMessageBuilder message;
    fill(message.initRoot<shim::FromShim>());
    wait(shimSocket->send(message, kj::mv(fds)));
  }

  // The process's ends of its streams.
  kj::AutoCloseFd processIn, processOut, processErr;

  // Waits for Start, answers with pipes.
  void startProcess(Wanted wanted) {
    auto packet = fromSession();
    EXPECT_TRUE(packet->as<shim::ToShim>().isStart());
    kj::Vector<kj::AutoCloseFd> fds;
    auto make = [&](bool given, bool input, kj::AutoCloseFd& process) {
      if (!given) return;
      int ends[2];
      KJ_SYSCALL(pipe2(ends, O_CLOEXEC));
      process = kj::AutoCloseFd(ends[input ? 0 : 1]);
      fds.add(kj::AutoCloseFd(ends[input ? 1 : 0]));
    };
    make(wanted.in, true, processIn);
    make(wanted.out, false, processOut);
    make(wanted.err, false, processErr);
    fromShim(
        [&](shim::FromShim::Builder message) {
          auto started = message.initStarted();
          started.setStdin(wanted.in);
          started.setStdout(wanted.out);
          started.setStderr(wanted.err);
        },
        fds.releaseAsArray());
  }

  void exited(int code) {
    fromShim([&](shim::FromShim::Builder message) { message.initExited().setCode(code); });
  }

  static void writeAll(int fd, std::string_view text) {
    ASSERT_EQ(write(fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }

  // Reads from a descriptor while the session runs.
  std::string readFd(int fd, size_t bytes) {
    auto stream = io.lowLevelProvider->wrapInputFd(fd);
    std::string text(bytes, '\0');
    text.resize(wait(stream->tryRead(text.data(), bytes, bytes)));
    return text;
  }

 private:
  kj::Own<kj::AsyncIoStream> serverEnd;
  kj::AutoCloseFd daemonEnd;
};

// A SPDY client of the tests' own.
class SpdyFixture : public SessionFixture, private SpdyFrameHandler {
 public:
  ~SpdyFixture() noexcept override {}

 protected:
  struct Seen {
    bool replied = false;
    bool ended = false;
    bool reset = false;
    uint32_t resetStatus = 0;
    std::string data;
  };
  std::map<uint32_t, Seen> seen;
  bool goneAway = false;
  uint32_t goAwayStatus = 0;
  std::vector<uint32_t> pongs;
  bool closed = false;

  void SetUp() override {
    SessionFixture::SetUp();
    ASSERT_EQ(deflateInit(&zlib, 9), Z_OK);
    auto dictionary = spdyDictionary();
    ASSERT_EQ(deflateSetDictionary(&zlib, dictionary.begin(), dictionary.size()), Z_OK);
  }

  void TearDown() override { deflateEnd(&zlib); }

  void upgrade(const std::string& path, const std::string& protocol) {
    start();
    send(kj::str("POST ", path.c_str(),
                 " HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
                 "Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: ",
                 protocol.c_str(), "\r\n\r\n"));
  }

  static std::string be32(uint32_t value) {
    char bytes[4] = {char(value >> 24), char(value >> 16), char(value >> 8), char(value)};
    return std::string(bytes, 4);
  }

  static std::string control(uint16_t type, uint8_t flags, const std::string& payload) {
    return be32(0x80030000 | type) + be32(uint32_t{flags} << 24 | payload.size()) + payload;
  }

  static std::string data(uint32_t id, const std::string& payload, bool fin = false) {
    return be32(id) + be32((fin ? 1u << 24 : 0) | payload.size()) + payload;
  }

  std::string compress(const std::string& plain) {
    std::string out(plain.size() + 1024, '\0');
    zlib.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(plain.data()));
    zlib.avail_in = plain.size();
    zlib.next_out = reinterpret_cast<Bytef*>(out.data());
    zlib.avail_out = out.size();
    EXPECT_EQ(deflate(&zlib, Z_SYNC_FLUSH), Z_OK);
    out.resize(out.size() - zlib.avail_out);
    return out;
  }

  using HeaderList = std::vector<std::pair<std::string, std::string>>;
  std::string synStream(uint32_t id, const HeaderList& headers, uint8_t flags = 0) {
    std::string block = be32(headers.size());
    for (auto& [name, value] : headers)
      block += be32(name.size()) + name + be32(value.size()) + value;
    return control(1, flags, be32(id) + be32(0) + std::string(2, '\0') + compress(block));
  }

  void sendBytes(const std::string& bytes) { wait(client->write(bytes.data(), bytes.size())); }

  void openStream(uint32_t id, const std::string& type) {
    sendBytes(synStream(id, {{"streamtype", type}}));
    until([&]() { return seen[id].replied || seen[id].reset; });
  }

  // Reads frames until the condition holds or the server closes.
  template <typename Condition>
  void until(Condition condition) {
    kj::byte buffer[65536];
    while (!condition() && !closed) {
      size_t count = wait(client->tryRead(buffer, 1, sizeof(buffer)));
      if (count == 0) closed = true;
      parser.feed(kj::arrayPtr(buffer, count), *this);
    }
    EXPECT_TRUE(condition()) << "the server closed";
  }

  void untilClosed() {
    until([&]() { return closed; });
    client->shutdownWrite();
    wait(kj::mv(session));
  }

 private:
  z_stream zlib = {};
  SpdyParser parser;

  void dataArrived(uint32_t id, kj::ArrayPtr<const kj::byte> bytes) override {
    EXPECT_FALSE(seen[id].ended) << "data after the end of stream " << id;
    seen[id].data.append(bytes.asChars().begin(), bytes.size());
  }
  void dataEnded(uint32_t id, bool fin) override {
    if (fin) seen[id].ended = true;
  }
  void controlArrived(SpdyType type, kj::byte, kj::ArrayPtr<const kj::byte> payload) override {
    auto word = [&](size_t at) {
      return uint32_t{payload[at]} << 24 | payload[at + 1] << 16 | payload[at + 2] << 8 |
             payload[at + 3];
    };
    if (type == SpdyType::SYN_REPLY) seen[word(0)].replied = true;
    if (type == SpdyType::RST_STREAM) {
      seen[word(0)].reset = true;
      seen[word(0)].resetStatus = word(4);
    }
    if (type == SpdyType::PING) pongs.push_back(word(0));
    if (type == SpdyType::GOAWAY) {
      goneAway = true;
      goAwayStatus = word(4);
    }
  }
};

}  // namespace belay::criapi::streaming
