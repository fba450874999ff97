// A streaming session as the shim sees it, for tests: it says what it is told to say, and what it
// hears is looked at.
#pragma once

#include <capnp/serialize.h>
#include <gtest/gtest.h>
#include <kj/io.h>

#include <string>

#include "shim/session.capnp.h"
#include "shim/shim-test-fixture.h"

namespace belay::shim {

class TestSession {
 public:
  explicit TestSession(kj::AutoCloseFd socket) : socket(kj::mv(socket)) {}

  void start();
  void resize(uint16_t columns, uint16_t rows);
  void endInput();
  void dial(uint32_t id, uint16_t port);
  // Any bytes as a packet.
  void sendRaw(kj::ArrayPtr<const kj::byte> bytes);
  void hangUp() { socket = nullptr; }

  struct Packet {
    kj::Array<capnp::word> words;
    kj::Own<capnp::FlatArrayMessageReader> message;
    kj::Vector<kj::AutoCloseFd> descriptors;
    FromShim::Reader get() { return message->getRoot<FromShim>(); }
  };
  // The next packet, which must come; throws if the shim hangs up instead.
  Packet receive();
  // Expects the shim to hang up without a further word.
  void expectHangUp();

  // Starts it and takes the streams of the answer.
  struct Streams {
    kj::AutoCloseFd in, out, err;
  };
  Streams startAndTakeStreams();
  // The code of "exited", which must be next.
  int exitCode();

 private:
  kj::AutoCloseFd socket;

  void send(capnp::MessageBuilder& message);
  kj::Maybe<Packet> tryReceive();
};

// Reads until the text has come; throws at the end of the stream, with what came before it.
std::string readUntil(int fd, std::string_view text);
// Reads to the end of the stream, or of a terminal.
std::string readAll(int fd);
void writeAll(int fd, std::string_view text);

class ShimSessionTest : public ShimTest {
 protected:
  kj::Own<TestSession> exec(Container::Client container, kj::StringPtr script, bool terminal,
                            bool in = true, bool out = true, bool err = false);
  kj::Own<TestSession> attach(Container::Client container, bool in, bool out = true,
                              bool err = true);
  kj::Own<TestSession> portForward();
  capnp::Response<Container::AttachResults> tryAttach(Container::Client container, bool in,
                                                      bool out, bool err);

  // Open descriptors of the shim, once it has answered whatever was sent before.
  size_t countShimDescriptors();
  // Resolves once it has no more than that.
  void awaitDescriptors(size_t count);
  // Resolves once the container has no cgroup of an exec.
  void awaitNoExecCgroup(kj::StringPtr containerId);

 private:
  kj::Own<TestSession> take(File::Client file);
};

}  // namespace belay::shim
