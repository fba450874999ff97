// Container.attach through the real binary: several clients, slow ones, input once, terminals.
#include <kj/debug.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>

#include "shim/session-test-client.h"
#include "shim/stdio/output-tap.h"

namespace belay::shim {
namespace {

class ShimAttachTest : public ShimSessionTest {
 protected:
  // A container with input that does what it is told, line by line.
  Container::Client runShell(bool once = false, bool terminal = false) {
    createPod();
    auto container = run("a", "exec sh", [=](ContainerSpec::Builder spec) {
      spec.setStdin(true);
      spec.setStdinOnce(once);
      spec.getProcess().setTerminal(terminal);
    });
    return container;
  }
};

TEST_F(ShimAttachTest, PassesStreamsBothWays) {
  auto container = runShell();
  auto session = attach(container, true);
  auto streams = session->startAndTakeStreams();
  writeAll(streams.in, "echo out; echo err >&2\n");
  EXPECT_EQ(readUntil(streams.out, "\n"), "out\n");
  EXPECT_EQ(readUntil(streams.err, "\n"), "err\n");
  writeAll(streams.in, "echo last; exit 4\n");
  EXPECT_EQ(session->exitCode(), 4);
  EXPECT_EQ(readAll(streams.out), "last\n");
  EXPECT_EQ(readAll(streams.err), "");
  auto log = logOf("a");
  for (auto line : {"stdout F out\n", "stderr F err\n", "stdout F last\n"})
    EXPECT_NE(log.find(line), std::string::npos) << log;
}

TEST_F(ShimAttachTest, SeveralClientsSeeTheSameFromTheirStartOn) {
  auto container = runShell();
  auto first = attach(container, true);
  auto firstStreams = first->startAndTakeStreams();
  writeAll(firstStreams.in, "echo one\n");
  readUntil(firstStreams.out, "one\n");
  auto second = attach(container, true, true, false);
  auto secondStreams = second->startAndTakeStreams();
  writeAll(secondStreams.in, "echo two\n");
  EXPECT_EQ(readUntil(firstStreams.out, "two\n"), "two\n");
  EXPECT_EQ(readUntil(secondStreams.out, "two\n"), "two\n");
  first->hangUp();
  firstStreams = TestSession::Streams();
  // One that goes harms nobody.
  writeAll(secondStreams.in, "echo three; exit 0\n");
  EXPECT_EQ(second->exitCode(), 0);
  EXPECT_EQ(readAll(secondStreams.out), "three\n");
  EXPECT_EQ(logOf("a"), "stdout F one\nstdout F two\nstdout F three\n");
}

TEST_F(ShimAttachTest, ASlowClientIsCutAndTheLogHasAll) {
  auto container = runShell();
  auto slow = attach(container, false);
  auto slowStreams = slow->startAndTakeStreams();
  auto quick = attach(container, true);
  auto quickStreams = quick->startAndTakeStreams();
  // Twice what is buffered; a client that reads gets every byte.
  constexpr size_t LINES = 2 * OutputTap::BUFFER / 8;
  // Paced by the quick client, so that it is not too slow itself.
  size_t next = 0;
  std::string got;
  while (next < LINES) {
    size_t until = std::min(next + 20'000, LINES);
    writeAll(quickStreams.in, "seq " + std::to_string(1'000'000 + next) + " " +
                                  std::to_string(999'999 + until) + "\n");
    got += readUntil(quickStreams.out, std::to_string(999'999 + until) + "\n");
    next = until;
  }
  EXPECT_EQ(got.size(), LINES * 8);
  auto packet = slow->receive();
  ASSERT_TRUE(packet.get().isCut());
  EXPECT_GT(packet.get().getCut().size(), 0u);
  slow->expectHangUp();
  // What was buffered is still there, without a gap.
  auto buffered = readAll(slowStreams.out);
  EXPECT_GE(buffered.size(), OutputTap::BUFFER / 2);
  EXPECT_EQ(buffered, got.substr(0, buffered.size()));
  writeAll(quickStreams.in, "exit 0\n");
  EXPECT_EQ(quick->exitCode(), 0);
  auto log = logOf("a");
  size_t lines = std::count(log.begin(), log.end(), '\n');
  EXPECT_EQ(lines, LINES);
}

TEST_F(ShimAttachTest, AllOutputComesBeforeTheExit) {
  createPod();
  auto container = create("a", "seq 50000; exit 9");
  start(container);
  // Whatever came before the attach is not repeated: the end must be there.
  auto answer = tryAttach(container, false, true, false);
  if (answer.getOutcome().isFailed()) return;  // it was over already
  auto fd = await(answer.getSession().getFd());
  TestSession session(kj::AutoCloseFd(dup(KJ_REQUIRE_NONNULL(fd))));
  session.start();
  auto packet = session.receive();
  if (packet.get().isFailed()) return;
  EXPECT_EQ(session.exitCode(), 9);
  auto out = readAll(packet.descriptors[0]);
  if (!out.empty()) EXPECT_TRUE(out.ends_with("50000\n"));
}

TEST_F(ShimAttachTest, TheFirstClientsEndIsTheInputsEndIfOnce) {
  auto container = runShell(true);
  {
    // Without input it does not count.
    auto watching = attach(container, false);
    watching->startAndTakeStreams();
  }
  auto session = attach(container, true);
  auto streams = session->startAndTakeStreams();
  writeAll(streams.in, "echo hello\n");
  readUntil(streams.out, "hello\n");
  streams.in = nullptr;
  session->endInput();
  // The shell met the end of its input.
  EXPECT_EQ(session->exitCode(), 0);
}

TEST_F(ShimAttachTest, AVanishedClientEndsTheInputIfOnce) {
  auto container = runShell(true);
  {
    auto session = attach(container, true);
    auto streams = session->startAndTakeStreams();
  }
  EXPECT_EQ(exitOf(container).getExit().getCode(), 0);
}

// The supervisor's duplicate would keep the container waiting for ever.
TEST_F(ShimAttachTest, WatchersAreToldToLetGoOfTheInput) {
  struct Keeper final : public Watcher::Server {
    kj::Promise<void> changed(ChangedContext) override { return kj::READY_NOW; }
    kj::Promise<void> descriptors(DescriptorsContext context) override {
      for (auto descriptor : context.getParams().getDescriptors()) {
        if (descriptor.getName() != "a/stdin") continue;
        if (!descriptor.hasFile()) {
          released = true;
          held = nullptr;
        } else {
          auto file = descriptor.getFile();
          auto fd = co_await file.getFd();
          held = kj::AutoCloseFd(dup(KJ_ASSERT_NONNULL(fd)));
        }
      }
    }
    explicit Keeper(bool& released) : released(released) {}
    bool& released;
    kj::AutoCloseFd held;
  };
  bool released = false;
  auto watch = shim().watchRequest();
  watch.setWatcher(kj::heap<Keeper>(released));
  await(watch.send().ignoreResult());
  auto container = runShell(true);
  {
    auto session = attach(container, true);
    auto streams = session->startAndTakeStreams();
  }
  EXPECT_EQ(exitOf(container).getExit().getCode(), 0);
  EXPECT_TRUE(released);
}

TEST_F(ShimAttachTest, AnUsedUpInputIsRefused) {
  createPod();
  auto container = run("a", "cat; exec sleep 1000", [](ContainerSpec::Builder spec) {
    spec.setStdin(true);
    spec.setStdinOnce(true);
  });
  auto session = attach(container, true);
  auto streams = session->startAndTakeStreams();
  streams.in = nullptr;
  session->endInput();
  await(shim().infoRequest().send());
  expectFailed(tryAttach(container, true, true, false).getOutcome(),
               Failure::Code::FAILED_PRECONDITION);
  expectDone(tryAttach(container, false, true, false).getOutcome());
}

TEST_F(ShimAttachTest, InputStaysOpenIfNotOnce) {
  auto container = runShell();
  {
    auto session = attach(container, true);
    auto streams = session->startAndTakeStreams();
  }
  auto session = attach(container, true);
  auto streams = session->startAndTakeStreams();
  writeAll(streams.in, "echo again\n");
  EXPECT_EQ(readUntil(streams.out, "\n"), "again\n");
}

TEST_F(ShimAttachTest, StreamsThatTheContainerHasNotGotAreRefused) {
  createPod();
  auto plain = run("a", "exec sleep 1000");
  expectFailed(tryAttach(plain, true, true, false).getOutcome(), Failure::Code::INVALID_ARGUMENT);
  auto terminal = run("b", "exec sleep 1000",
                      [](ContainerSpec::Builder spec) { spec.getProcess().setTerminal(true); });
  expectFailed(tryAttach(terminal, false, true, true).getOutcome(),
               Failure::Code::INVALID_ARGUMENT);
  expectFailed(tryAttach(terminal, true, true, false).getOutcome(),
               Failure::Code::INVALID_ARGUMENT);
}

TEST_F(ShimAttachTest, NeedsARunningContainer) {
  createPod();
  auto container = create("a", "exit 0");
  expectFailed(tryAttach(container, false, true, true).getOutcome(),
               Failure::Code::FAILED_PRECONDITION);
  start(container);
  exitOf(container);
  expectFailed(tryAttach(container, false, true, true).getOutcome(),
               Failure::Code::FAILED_PRECONDITION);
}

TEST_F(ShimAttachTest, ATerminalIsSharedAndFollowsItsSize) {
  auto container = runShell(false, true);
  auto session = attach(container, true, true, false);
  session->resize(99, 33);
  auto streams = session->startAndTakeStreams();
  writeAll(streams.in, "stty size\n");
  readUntil(streams.out, "33 99\r\n");
  session->resize(80, 24);
  writeAll(streams.in, "stty size\n");
  readUntil(streams.out, "24 80\r\n");
  auto other = attach(container, true, true, false);
  auto otherStreams = other->startAndTakeStreams();
  writeAll(otherStreams.in, "echo from-$((1+1))\n");
  readUntil(otherStreams.out, "from-2\r\n");
  readUntil(streams.out, "from-2\r\n");
  // More than a terminal holds: the session's input waits, and nobody else does.
  auto blocked = attach(container, true, false, false);
  auto blockedStreams = blocked->startAndTakeStreams();
  writeAll(streams.in, "sleep 0.3; exit 6\n");
  readUntil(streams.out, "exit 6\r\n");
  writeAll(blockedStreams.in, std::string(60'000, 'x'));
  EXPECT_EQ(session->exitCode(), 6);
  EXPECT_EQ(other->exitCode(), 6);
  EXPECT_EQ(blocked->exitCode(), 6);
}

TEST_F(ShimAttachTest, ATerminalThatNobodyReadsCostsNoTime) {
  createPod();
  auto container = run("a", "stty -icanon; exec sleep 1000", [](ContainerSpec::Builder spec) {
    spec.setStdin(true);
    spec.getProcess().setTerminal(true);
  });
  auto session = attach(container, true, false, false);
  auto streams = session->startAndTakeStreams();
  // Much more than it holds: the rest stays in the client's pipe.
  std::string keys(1 << 16, 'x');
  ssize_t count;
  KJ_SYSCALL(count = write(streams.in, keys.data(), keys.size()));
  EXPECT_EQ(size_t(count), keys.size());
  auto ticks = [&]() {
    auto stat = readFile("/proc/" + std::to_string(shimPid) + "/stat");
    std::istringstream fields(stat.substr(stat.rfind(')') + 2));
    std::string skipped;
    long user, system;
    for (int i = 0; i < 11; i++)
      fields >> skipped;
    fields >> user >> system;
    return user + system;
  };
  await(io.provider->getTimer().afterDelay(300 * kj::MILLISECONDS));
  auto before = ticks();
  await(io.provider->getTimer().afterDelay(500 * kj::MILLISECONDS));
  EXPECT_LT(ticks() - before, 10) << "the shim is busy";
}

TEST_F(ShimAttachTest, NothingIsLeft) {
  auto container = runShell();
  auto before = countShimDescriptors();
  for (int i = 0; i < 20; i++) {
    auto session = attach(container, i % 2 == 0);
    if (i % 5 != 0) session->startAndTakeStreams();
    if (i % 3 == 0) session->sendRaw("no message"_kj.asBytes());
  }
  awaitDescriptors(before);
}

TEST_F(ShimAttachTest, ContainersAndPodsAreRemovedUnderIt) {
  auto container = runShell();
  auto session = attach(container, true);
  auto streams = session->startAndTakeStreams();
  auto idle = attach(container, true);
  expectDone(await(container.removeRequest().send()).getOutcome());
  EXPECT_EQ(session->exitCode(), 137);
  idle->start();
  EXPECT_TRUE(idle->receive().get().isFailed());
}

}  // namespace
}  // namespace belay::shim
