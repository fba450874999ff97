// Tests messages as packets over a real socket pair.
#include "shim/packet.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <kj/async-io.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "shim/session.capnp.h"

namespace belay::shim {
namespace {

class PacketTest : public ::testing::Test {
 public:
  ~PacketTest() noexcept override {}

 protected:
  kj::AsyncIoContext io = kj::setupAsyncIo();
  kj::Own<PacketSocket> near, far;
  int farFd = -1;

  void SetUp() override {
    auto pair = makePacketPair();
    farFd = pair.theirs;
    near = kj::heap<PacketSocket>(io.unixEventPort, kj::mv(pair.ours), MAX_PACKET);
    far = kj::heap<PacketSocket>(io.unixEventPort, kj::mv(pair.theirs), MAX_PACKET);
  }

  kj::Own<Packet> next() {
    return KJ_ASSERT_NONNULL(far->receive().wait(io.waitScope), "the peer hung up");
  }

  kj::Promise<void> sendSize(uint16_t columns, kj::Array<kj::AutoCloseFd> fds = nullptr) {
    capnp::MallocMessageBuilder message;
    message.initRoot<ToShim>().initResize().setColumns(columns);
    return near->send(message, kj::mv(fds));
  }
};

TEST_F(PacketTest, KeepsMessagesApartAndInOrder) {
  sendSize(80).wait(io.waitScope);
  sendSize(81).wait(io.waitScope);
  auto first = next(), second = next();
  EXPECT_EQ(first->as<ToShim>().getResize().getColumns(), 80);
  EXPECT_EQ(second->as<ToShim>().getResize().getColumns(), 81);
}

TEST_F(PacketTest, CarriesDescriptors) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  auto fds = kj::heapArrayBuilder<kj::AutoCloseFd>(1);
  fds.add(kj::AutoCloseFd(ends[1]));
  sendSize(1, fds.finish()).wait(io.waitScope);
  auto packet = next();
  ASSERT_EQ(packet->fds.size(), 1u);
  EXPECT_EQ(write(packet->fds[0], "x", 1), 1);
  EXPECT_EQ(fcntl(packet->fds[0], F_GETFD), FD_CLOEXEC);
  // The sender's copy is closed: once the receiver's is, the pipe ends.
  packet = nullptr;
  char bytes[2];
  EXPECT_EQ(read(ends[0], bytes, 2), 1);
  EXPECT_EQ(read(ends[0], bytes, 2), 0);
  close(ends[0]);
}

TEST_F(PacketTest, WaitsForAPeerThatDoesNotKeepUp) {
  kj::Vector<kj::Promise<void>> sent;
  int count = 0;
  do {
    sent.add(sendSize(count++));
  } while (sent.back().poll(io.waitScope) && count < 100000);
  ASSERT_LT(count, 100000) << "the socket never filled";
  for (int i = 0; i < count; ++i)
    EXPECT_EQ(next()->as<ToShim>().getResize().getColumns(), static_cast<uint16_t>(i));
  sent.back().wait(io.waitScope);
}

TEST_F(PacketTest, TriesNoMoreThanThePeerHasRoomFor) {
  capnp::MallocMessageBuilder message;
  message.initRoot<ToShim>().initResize().setColumns(7);
  int count = 0;
  while (count < 100000 && near->trySend(message))
    ++count;
  ASSERT_LT(count, 100000) << "the socket never filled";
  for (int i = 0; i < count; ++i)
    EXPECT_EQ(next()->as<ToShim>().getResize().getColumns(), 7);
  EXPECT_TRUE(near->trySend(message));
  far = nullptr;
  EXPECT_FALSE(near->trySend(message));
}

TEST_F(PacketTest, TellsThatThePeerHungUp) {
  sendSize(5).wait(io.waitScope);
  near = nullptr;
  EXPECT_EQ(next()->as<ToShim>().getResize().getColumns(), 5);
  EXPECT_TRUE(far->receive().wait(io.waitScope) == nullptr);
}

TEST_F(PacketTest, RefusesWhatIsTooBig) {
  std::vector<char> big(MAX_PACKET + 8);
  int raw = dup(farFd);
  ASSERT_EQ(send(raw, big.data(), big.size(), 0), static_cast<ssize_t>(big.size()));
  close(raw);
  EXPECT_THROW(near->receive().wait(io.waitScope), kj::Exception);
  capnp::MallocMessageBuilder message;
  std::string sentence(MAX_PACKET, 'x');
  message.initRoot<FromShim>().setCut(sentence.c_str());
  EXPECT_THROW(near->send(message).wait(io.waitScope), kj::Exception);
}

TEST_F(PacketTest, RefusesGarbage) {
  int raw = dup(farFd);
  ASSERT_EQ(send(raw, "garbage!garbage!", 16, 0), 16);
  close(raw);
  EXPECT_THROW(near->receive().wait(io.waitScope), kj::Exception);
}

}  // namespace
}  // namespace belay::shim
