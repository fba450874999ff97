// Implementation of session-test-client.h.
#include "shim/session-test-client.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>

#include "shim/engine/cgroup-hierarchies.h"

namespace belay::shim {
namespace {

constexpr int PATIENCE_MS = 30'000;

void awaitReadable(int fd) {
  struct pollfd waiting{fd, POLLIN, 0};
  int ready;
  KJ_SYSCALL(ready = poll(&waiting, 1, PATIENCE_MS));
  KJ_REQUIRE(ready == 1, "nothing came");
}

// What there is; empty at the end.
std::string readSome(int fd) {
  awaitReadable(fd);
  char buffer[65536];
  ssize_t count = read(fd, buffer, sizeof(buffer));
  if (count < 0 && errno == EAGAIN) return readSome(fd);
  if (count < 0 && errno == EIO) return {};
  KJ_REQUIRE(count >= 0, strerror(errno));
  return std::string(buffer, count);
}

}  // namespace

std::string readUntil(int fd, std::string_view text) {
  std::string got;
  while (got.find(text) == std::string::npos) {
    auto more = readSome(fd);
    KJ_REQUIRE(!more.empty(), "the stream ended", got.c_str());
    got += more;
  }
  return got;
}

std::string readAll(int fd) {
  std::string got;
  for (;;) {
    auto more = readSome(fd);
    if (more.empty()) return got;
    got += more;
  }
}

void writeAll(int fd, std::string_view text) {
  while (!text.empty()) {
    struct pollfd waiting{fd, POLLOUT, 0};
    int ready;
    KJ_SYSCALL(ready = poll(&waiting, 1, PATIENCE_MS));
    KJ_REQUIRE(ready == 1, "nothing was taken");
    ssize_t count = write(fd, text.data(), text.size());
    if (count < 0 && errno == EAGAIN) continue;
    KJ_REQUIRE(count >= 0, strerror(errno));
    text.remove_prefix(count);
  }
}

void TestSession::sendRaw(kj::ArrayPtr<const kj::byte> bytes) {
  ssize_t count;
  KJ_SYSCALL(count = ::send(socket, bytes.begin(), bytes.size(), MSG_NOSIGNAL));
  KJ_REQUIRE(size_t(count) == bytes.size());
}

void TestSession::send(capnp::MessageBuilder& message) {
  auto words = capnp::messageToFlatArray(message);
  sendRaw(words.asBytes());
}

void TestSession::start() {
  capnp::MallocMessageBuilder message;
  message.initRoot<ToShim>().initStart();
  send(message);
}

void TestSession::resize(uint16_t columns, uint16_t rows) {
  capnp::MallocMessageBuilder message;
  auto size = message.initRoot<ToShim>().initResize();
  size.setColumns(columns);
  size.setRows(rows);
  send(message);
}

void TestSession::endInput() {
  capnp::MallocMessageBuilder message;
  message.initRoot<ToShim>().setStdinEnded();
  send(message);
}

void TestSession::dial(uint32_t id, uint16_t port) {
  capnp::MallocMessageBuilder message;
  auto dial = message.initRoot<ToShim>().initDial();
  dial.setId(id);
  dial.setPort(port);
  send(message);
}

kj::Maybe<TestSession::Packet> TestSession::tryReceive() {
  awaitReadable(socket);
  Packet packet;
  packet.words = kj::heapArray<capnp::word>(MAX_PACKET / sizeof(capnp::word));
  auto bytes = packet.words.asBytes();
  iovec part{bytes.begin(), bytes.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * 8)] = {};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof(control);
  ssize_t count = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
  // A socket closed with something unread resets.
  if (count < 0 && errno == ECONNRESET) return nullptr;
  KJ_REQUIRE(count >= 0, strerror(errno));
  if (count == 0) return nullptr;
  KJ_REQUIRE(!(header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)));
  for (auto rights = CMSG_FIRSTHDR(&header); rights; rights = CMSG_NXTHDR(&header, rights)) {
    size_t number = (rights->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < number; i++) {
      packet.descriptors.add(kj::AutoCloseFd(reinterpret_cast<int*>(CMSG_DATA(rights))[i]));
    }
  }
  packet.message =
      kj::heap<capnp::FlatArrayMessageReader>(packet.words.slice(0, count / sizeof(capnp::word)));
  return kj::mv(packet);
}

TestSession::Packet TestSession::receive() {
  return KJ_REQUIRE_NONNULL(tryReceive(), "the shim hung up");
}

void TestSession::expectHangUp() {
  KJ_IF_MAYBE (packet, tryReceive()) {
    ADD_FAILURE() << "the shim said " << int(packet->get().which());
  }
}

TestSession::Streams TestSession::startAndTakeStreams() {
  start();
  auto packet = receive();
  auto answer = packet.get();
  KJ_REQUIRE(answer.isStarted(),
             answer.isFailed() ? answer.getFailed().getMessage() : "something else"_kj);
  Streams streams;
  size_t next = 0;
  if (answer.getStarted().getStdin()) streams.in = kj::mv(packet.descriptors[next++]);
  if (answer.getStarted().getStdout()) streams.out = kj::mv(packet.descriptors[next++]);
  if (answer.getStarted().getStderr()) streams.err = kj::mv(packet.descriptors[next++]);
  KJ_REQUIRE(next == packet.descriptors.size());
  return streams;
}

int TestSession::exitCode() {
  auto packet = receive();
  KJ_REQUIRE(packet.get().isExited(), packet.get().which());
  expectHangUp();
  return packet.get().getExited().getCode();
}

kj::Own<TestSession> ShimSessionTest::take(File::Client file) {
  auto received = await(file.getFd());
  int copy;
  KJ_SYSCALL(copy = fcntl(KJ_REQUIRE_NONNULL(received), F_DUPFD_CLOEXEC, 3));
  return kj::heap<TestSession>(kj::AutoCloseFd(copy));
}

kj::Own<TestSession> ShimSessionTest::exec(Container::Client container, kj::StringPtr script,
                                           bool terminal, bool in, bool out, bool err) {
  auto request = container.execRequest();
  fillProcess(request.initProcess(), script);
  request.getProcess().setTerminal(terminal);
  request.setStdin(in);
  request.setStdout(out);
  request.setStderr(err);
  auto answer = await(request.send());
  expectDone(answer.getOutcome());
  return take(answer.getSession());
}

capnp::Response<Container::AttachResults> ShimSessionTest::tryAttach(Container::Client container,
                                                                     bool in, bool out, bool err) {
  auto request = container.attachRequest();
  request.setStdin(in);
  request.setStdout(out);
  request.setStderr(err);
  return await(request.send());
}

kj::Own<TestSession> ShimSessionTest::attach(Container::Client container, bool in, bool out,
                                             bool err) {
  auto answer = tryAttach(container, in, out, err);
  expectDone(answer.getOutcome());
  return take(answer.getSession());
}

kj::Own<TestSession> ShimSessionTest::portForward() {
  auto answer = await(shim().portForwardRequest().send());
  expectDone(answer.getOutcome());
  return take(answer.getSession());
}

size_t ShimSessionTest::countShimDescriptors() {
  await(shim().infoRequest().send());
  auto fds = std::filesystem::directory_iterator("/proc/" + std::to_string(shimPid) + "/fd");
  return std::distance(begin(fds), end(fds));
}

void ShimSessionTest::awaitDescriptors(size_t count) {
  // Each round trip lets the shim's event loop turn.
  for (int round = 0; countShimDescriptors() > count; round++)
    KJ_REQUIRE(round < 100'000, "descriptors are left", countShimDescriptors(), count);
}

void ShimSessionTest::awaitNoExecCgroup(kj::StringPtr containerId) {
  auto hierarchies = CgroupHierarchies::discover();
  auto left = [&]() {
    for (auto& hierarchy : hierarchies.all()) {
      auto path = std::string(hierarchy.mountPoint.cStr()) + cgroupPath + "/" + containerId.cStr();
      if (!std::filesystem::exists(path)) continue;
      for (auto& entry : std::filesystem::directory_iterator(path)) {
        if (entry.path().filename().string().starts_with("exec-")) return true;
      }
    }
    return false;
  };
  for (int round = 0; left(); round++) {
    KJ_REQUIRE(round < 100'000, "the cgroup of an exec is left");
    await(shim().infoRequest().send());
  }
}

}  // namespace belay::shim
