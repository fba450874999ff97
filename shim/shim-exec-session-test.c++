// Container.exec through the real binary: streams, terminals, ends, and sessions that vanish.
#include <kj/debug.h>
#include <unistd.h>

#include "shim/session-test-client.h"

namespace belay::shim {
namespace {

class ShimExecSessionTest : public ShimSessionTest {
 protected:
  Container::Client runSleeper() {
    createPod();
    return run("a", "echo ready; exec sleep 1000");
  }
};

TEST_F(ShimExecSessionTest, PassesStreamsAndExitCode) {
  auto container = runSleeper();
  auto session = exec(container, "cat; echo err >&2; exit 7", false, true, true, true);
  auto streams = session->startAndTakeStreams();
  writeAll(streams.in, "hello\n");
  EXPECT_EQ(readUntil(streams.out, "\n"), "hello\n");
  streams.in = nullptr;
  EXPECT_EQ(readAll(streams.err), "err\n");
  EXPECT_EQ(readAll(streams.out), "");
  EXPECT_EQ(session->exitCode(), 7);
  awaitNoExecCgroup("a");
}

TEST_F(ShimExecSessionTest, StreamsThatNobodyWantsAreNull) {
  auto container = runSleeper();
  auto session = exec(container, "cat; echo lost; echo err >&2", false, false, false, true);
  auto streams = session->startAndTakeStreams();
  EXPECT_LT(streams.in.get(), 0);
  EXPECT_LT(streams.out.get(), 0);
  EXPECT_EQ(readAll(streams.err), "err\n");
  EXPECT_EQ(session->exitCode(), 0);
}

TEST_F(ShimExecSessionTest, PassesManyBytesBothWays) {
  auto container = runSleeper();
  auto session = exec(container, "cat", false);
  auto streams = session->startAndTakeStreams();
  std::string sent;
  for (int i = 0; sent.size() < (8 << 20); i++)
    sent += std::to_string(i) + "\n";
  std::string got;
  for (size_t at = 0; at < sent.size();) {
    auto piece = std::string_view(sent).substr(at, 64 << 10);
    writeAll(streams.in, piece);
    at += piece.size();
    while (got.size() < at) {
      char buffer[65536];
      ssize_t count;
      KJ_SYSCALL(count = read(streams.out, buffer, sizeof(buffer)));
      got.append(buffer, count);
    }
  }
  streams.in = nullptr;
  EXPECT_EQ(readAll(streams.out), "");
  EXPECT_TRUE(got == sent);
  EXPECT_EQ(session->exitCode(), 0);
}

TEST_F(ShimExecSessionTest, TheSignalIsTold) {
  auto container = runSleeper();
  auto session = exec(container, "kill -9 $$", false);
  auto streams = session->startAndTakeStreams();
  auto packet = session->receive();
  ASSERT_TRUE(packet.get().isExited());
  EXPECT_EQ(packet.get().getExited().getCode(), 137);
  EXPECT_EQ(packet.get().getExited().getSignal(), 9);
  EXPECT_GT(packet.get().getExited().getFinishedAtNs(), 0);
}

TEST_F(ShimExecSessionTest, AMissingCommandIsToldAsFailure) {
  auto container = runSleeper();
  auto request = container.execRequest();
  request.initProcess().initArgs(1).set(0, "/no/such/command"_kj.asBytes());
  request.setStdout(true);
  auto answer = await(request.send());
  expectDone(answer.getOutcome());
  auto fd = await(answer.getSession().getFd());
  TestSession session(kj::AutoCloseFd(dup(KJ_REQUIRE_NONNULL(fd))));
  session.start();
  auto packet = session.receive();
  ASSERT_TRUE(packet.get().isFailed());
  EXPECT_EQ(packet.get().getFailed().getCode(), Failure::Code::NOT_FOUND);
  session.expectHangUp();
  awaitNoExecCgroup("a");
}

TEST_F(ShimExecSessionTest, NeedsARunningContainer) {
  createPod();
  auto container = create("a", "exit 0");
  auto refused = [&]() {
    auto request = container.execRequest();
    fillProcess(request.initProcess(), "true");
    request.setStdout(true);
    expectFailed(await(request.send()).getOutcome(), Failure::Code::FAILED_PRECONDITION);
  };
  refused();
  start(container);
  exitOf(container);
  refused();
}

TEST_F(ShimExecSessionTest, ATerminalHasNoStderr) {
  auto container = runSleeper();
  auto request = container.execRequest();
  fillProcess(request.initProcess(), "true");
  request.getProcess().setTerminal(true);
  request.setStderr(true);
  expectFailed(await(request.send()).getOutcome(), Failure::Code::INVALID_ARGUMENT);
}

TEST_F(ShimExecSessionTest, ATerminalBeginsWithItsSizeAndFollowsIt) {
  auto container = runSleeper();
  auto session = exec(container,
                      "stty size; trap 'stty size; exit 5' WINCH; echo set; "
                      "while :; do sleep 0.01; done",
                      true);
  session->resize(1, 1);
  session->resize(123, 45);
  auto streams = session->startAndTakeStreams();
  EXPECT_EQ(readUntil(streams.out, "set\r\n"), "45 123\r\nset\r\n");
  session->resize(80, 24);
  EXPECT_EQ(readUntil(streams.out, "\n"), "24 80\r\n");
  EXPECT_EQ(session->exitCode(), 5);
  EXPECT_EQ(readAll(streams.out), "");
}

TEST_F(ShimExecSessionTest, ATerminalPassesKeys) {
  auto container = runSleeper();
  auto session = exec(container, "read line; echo got $line; sleep 1000", true);
  auto streams = session->startAndTakeStreams();
  writeAll(streams.in, "word\n");
  readUntil(streams.out, "got word\r\n");
  writeAll(streams.in, "\x03");
  EXPECT_EQ(session->exitCode(), 130);
}

TEST_F(ShimExecSessionTest, TheContainersEndEndsIt) {
  auto container = runSleeper();
  auto session = exec(container, "echo started; sleep 1000", false);
  auto streams = session->startAndTakeStreams();
  readUntil(streams.out, "started\n");
  await(container.stopRequest().send());
  EXPECT_EQ(session->exitCode(), 137);
  EXPECT_EQ(readAll(streams.out), "");
}

TEST_F(ShimExecSessionTest, AStartAfterTheContainersEndFails) {
  auto container = runSleeper();
  auto session = exec(container, "true", false);
  await(container.stopRequest().send());
  session->start();
  EXPECT_TRUE(session->receive().get().isFailed());
  session->expectHangUp();
}

TEST_F(ShimExecSessionTest, AnEarlyHangUpRunsNothing) {
  auto container = runSleeper();
  auto before = countShimDescriptors();
  for (int i = 0; i < 10; i++) {
    auto session = exec(container, "echo ran > /tmp/ran", false);
    if (i % 2 == 0) session->resize(80, 24);
    session->hangUp();
  }
  awaitDescriptors(before);
  awaitNoExecCgroup("a");
  EXPECT_NE(await(execSync(container, "cat /tmp/ran")).results.getExitCode(), 0);
}

// At whatever moment: before the process is there, while it runs, when it is over.
TEST_F(ShimExecSessionTest, AHangUpAtAnyMomentLeavesNothing) {
  auto container = runSleeper();
  auto before = countShimDescriptors();
  for (int i = 0; i < 30; i++) {
    auto session = exec(container, "cat", i % 3 == 0);
    session->start();
    for (int turn = 0; turn < i % 7; turn++)
      await(shim().infoRequest().send());
    session->hangUp();
  }
  awaitNoExecCgroup("a");
  awaitDescriptors(before);
}

TEST_F(ShimExecSessionTest, AVanishedClientIsTheEndOfInputAndABrokenPipe) {
  auto container = runSleeper();
  auto session = exec(container,
                      "trap '' PIPE; cat; while echo x; do sleep 0.01; done 2>/dev/null; "
                      "echo broken > /tmp/end",
                      false);
  {
    auto streams = session->startAndTakeStreams();
    session->hangUp();
  }
  auto seen = await(
      execSync(container, "while ! [ -s /tmp/end ]; do sleep 0.01; done; cat /tmp/end", 20'000));
  EXPECT_EQ(seen.out, "broken\n");
  awaitNoExecCgroup("a");
}

TEST_F(ShimExecSessionTest, AVanishedClientHangsTheTerminalUp) {
  auto container = runSleeper();
  auto session = exec(container,
                      "trap 'echo hup > /tmp/end; exit' HUP; echo set; "
                      "while :; do sleep 0.01; done",
                      true);
  {
    auto streams = session->startAndTakeStreams();
    readUntil(streams.out, "set");
    session->hangUp();
  }
  auto seen = await(
      execSync(container, "while ! [ -s /tmp/end ]; do sleep 0.01; done; cat /tmp/end", 20'000));
  EXPECT_EQ(seen.out, "hup\n");
  awaitNoExecCgroup("a");
}

TEST_F(ShimExecSessionTest, WhatIgnoresItsVanishedClientLivesOn) {
  auto container = runSleeper();
  auto session = exec(container, "echo $$; exec sleep 1000", false);
  std::string pid;
  {
    auto streams = session->startAndTakeStreams();
    pid = readUntil(streams.out, "\n");
    session->hangUp();
  }
  pid.pop_back();
  auto check = kj::str("sleep 0.2; [ -d /proc/", pid.c_str(), " ] && kill -9 ", pid.c_str());
  EXPECT_EQ(await(execSync(container, check)).results.getExitCode(), 0);
  // Its own end is seen nevertheless: it is no zombie, and its cgroup goes.
  awaitNoExecCgroup("a");
}

TEST_F(ShimExecSessionTest, NoSupervisorIsNeeded) {
  auto container = runSleeper();
  auto session = exec(container, "cat; exit 3", true);
  auto streams = session->startAndTakeStreams();
  hangUp();
  writeAll(streams.in, "still here\n");
  readUntil(streams.out, "still here\r\nstill here\r\n");
  writeAll(streams.in, "\x04");
  EXPECT_EQ(session->exitCode(), 3);
}

TEST_F(ShimExecSessionTest, WhatIsNoMessageEndsTheSessionAndNothingElse) {
  auto container = runSleeper();
  auto before = countShimDescriptors();
  kj::byte noise[MAX_PACKET + 8];
  for (size_t i = 0; i < sizeof(noise); i++)
    noise[i] = kj::byte(i * 131 + 7);
  for (size_t size : {size_t(1), size_t(7), size_t(8), size_t(16), size_t(4096), size_t(MAX_PACKET),
                      sizeof(noise)}) {
    for (bool started : {false, true}) {
      auto session = exec(container, "exec cat", false);
      TestSession::Streams streams;
      if (started) streams = session->startAndTakeStreams();
      session->sendRaw(kj::arrayPtr(noise, size));
      session->expectHangUp();
    }
  }
  awaitDescriptors(before);
  awaitNoExecCgroup("a");
}

TEST_F(ShimExecSessionTest, ManyAtOnce) {
  auto container = runSleeper();
  kj::Vector<kj::Own<TestSession>> sessions;
  kj::Vector<TestSession::Streams> streams;
  for (int i = 0; i < 30; i++) {
    sessions.add(exec(container, kj::str("cat; exit ", i), false));
    streams.add(sessions.back()->startAndTakeStreams());
  }
  for (int i = 29; i >= 0; i--) {
    writeAll(streams[i].in, std::to_string(i));
    streams[i].in = nullptr;
    EXPECT_EQ(readAll(streams[i].out), std::to_string(i));
    EXPECT_EQ(sessions[i]->exitCode(), i);
  }
  awaitNoExecCgroup("a");
}

}  // namespace
}  // namespace belay::shim
