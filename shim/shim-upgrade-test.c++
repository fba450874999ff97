// The shim executes another program in its place, the same binary here: containers, logs, exit
// codes and streaming sessions go on.
#include <fcntl.h>
#include <kj/debug.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shim/file-server.h"
#include "shim/session-test-client.h"

namespace belay::shim {
namespace {

class ShimUpgradeTest : public ShimSessionTest {
 protected:
  void upgrade(uint32_t expected) {
    auto request = shim().upgradeRequest();
    int program;
    KJ_SYSCALL(program = open("shim/belay-shim", O_PATH | O_CLOEXEC));
    request.setProgram(kj::heap<FileServer>(kj::AutoCloseFd(program)));
    request.setLimitMs(20'000);
    KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() {
                   auto answer = await(request.send());
                   KJ_FAIL_REQUIRE("it was refused", answer.getOutcome().getFailed().getMessage());
                 })) {
      KJ_REQUIRE(exception->getType() == kj::Exception::Type::DISCONNECTED, *exception);
    }
    reconnect();
    EXPECT_EQ(await(shim().infoRequest().send()).getGeneration(), expected);
  }

  Container::Client find(kj::StringPtr id) {
    auto request = shim().containerRequest();
    request.setId(id);
    auto response = await(request.send());
    expectDone(response.getOutcome());
    return response.getContainer();
  }
};

TEST_F(ShimUpgradeTest, ALogHasNoGapAndNoRepeatAndTheExitCodeIsRight) {
  constexpr int LINES = 30000;
  createPod();
  run("a", kj::str("i=0; while [ $i -lt ", LINES, " ]; do echo $i; i=$((i+1)); done; exit 42"));
  for (int part = 1; part <= 3; part++) {
    awaitLog("a", kj::str("stdout F ", 2000 * part, "\n").cStr());
    upgrade(part);
  }
  EXPECT_EQ(exitOf(find("a")).getExit().getCode(), 42);
  std::string expected;
  for (int i = 0; i < LINES; i++)
    expected += "stdout F " + std::to_string(i) + "\n";
  EXPECT_TRUE(logOf("a") == expected) << "a line is missing, torn or there twice";
}

TEST_F(ShimUpgradeTest, AnExecGoesOn) {
  createPod();
  auto container = run("a", "exec sleep 1000");
  auto session = exec(container, "cat; exit 7", false);
  auto streams = session->startAndTakeStreams();
  writeAll(streams.in, "before\n");
  EXPECT_EQ(readUntil(streams.out, "\n"), "before\n");
  upgrade(1);
  writeAll(streams.in, "after\n");
  EXPECT_EQ(readUntil(streams.out, "\n"), "after\n");
  upgrade(2);
  streams.in = nullptr;
  EXPECT_EQ(readAll(streams.out), "");
  EXPECT_EQ(session->exitCode(), 7);
  awaitNoExecCgroup("a");
}

TEST_F(ShimUpgradeTest, ATerminalOfAnExecIsStillResized) {
  createPod();
  auto container = run("a", "exec sleep 1000");
  auto session = exec(container, "while read line; do stty size; done", true);
  auto streams = session->startAndTakeStreams();
  upgrade(1);
  session->resize(91, 17);
  // What the session says comes before what it writes only once the shim has read it.
  do {
    writeAll(streams.in, "\n");
  } while (readUntil(streams.out, "\n").empty() ||
           readUntil(streams.out, "\r\n").find("17 91") == std::string::npos);
}

TEST_F(ShimUpgradeTest, AnExecThatWaitsForItsStartIsStarted) {
  createPod();
  auto container = run("a", "exec sleep 1000");
  auto session = exec(container, "echo started; exit 3", false);
  upgrade(1);
  auto streams = session->startAndTakeStreams();
  EXPECT_EQ(readAll(streams.out), "started\n");
  EXPECT_EQ(session->exitCode(), 3);
}

TEST_F(ShimUpgradeTest, AnAttachGoesOnWithInputAndExit) {
  createPod();
  auto container = run("a", "while read line; do echo got $line; done; exit 5",
                       [](ContainerSpec::Builder spec) { spec.setStdin(true); });
  auto session = attach(container, true);
  auto streams = session->startAndTakeStreams();
  writeAll(streams.in, "one\n");
  EXPECT_EQ(readUntil(streams.out, "\n"), "got one\n");
  upgrade(1);
  writeAll(streams.in, "two\n");
  EXPECT_EQ(readUntil(streams.out, "\n"), "got two\n");
  auto request = find("a").stopRequest();
  request.setGraceMs(0);
  expectDone(await(request.send()).getOutcome());
  EXPECT_EQ(session->exitCode(), 137);
  EXPECT_EQ(logOf("a"), "stdout F got one\nstdout F got two\n");
}

TEST_F(ShimUpgradeTest, AnAttachToATerminalGoesOn) {
  createPod();
  auto container = run("a", "stty -echo; echo ready; while read line; do echo got $line; done",
                       [](ContainerSpec::Builder spec) {
                         spec.setStdin(true);
                         spec.getProcess().setTerminal(true);
                       });
  awaitLog("a", "ready");
  auto session = attach(container, true, true, false);
  auto streams = session->startAndTakeStreams();
  upgrade(1);
  writeAll(streams.in, "two\n");
  EXPECT_EQ(readUntil(streams.out, "\n"), "got two\r\n");
}

TEST_F(ShimUpgradeTest, APortForwardDialsAsBefore) {
  createPod();
  auto session = portForward();
  upgrade(1);
  session->dial(7, 1);
  auto packet = session->receive();
  ASSERT_TRUE(packet.get().isDialFailed());
  EXPECT_EQ(packet.get().getDialFailed().getId(), 7);
}

TEST_F(ShimUpgradeTest, OneThatIsBusyForTooLongIsLeft) {
  createPod();
  auto container = run("a", "exec sleep 1000");
  auto running = execSync(container, "sleep 1000");
  EXPECT_FALSE(running.poll(io.waitScope));
  auto request = shim().upgradeRequest();
  int program;
  KJ_SYSCALL(program = open("shim/belay-shim", O_PATH | O_CLOEXEC));
  request.setProgram(kj::heap<FileServer>(kj::AutoCloseFd(program)));
  request.setLimitMs(50);
  expectFailed(await(request.send()).getOutcome(), Failure::Code::DEADLINE_EXCEEDED);
  EXPECT_EQ(await(execSync(container, "echo on")).out, "on\n");
}

TEST_F(ShimUpgradeTest, AProgramThatCannotGoOnIsRefused) {
  createPod();
  auto request = shim().upgradeRequest();
  int program;
  KJ_SYSCALL(program = open("/bin/busybox", O_PATH | O_CLOEXEC));
  request.setProgram(kj::heap<FileServer>(kj::AutoCloseFd(program)));
  request.setLimitMs(1000);
  expectFailed(await(request.send()).getOutcome(), Failure::Code::FAILED_PRECONDITION);
  EXPECT_EQ(await(shim().infoRequest().send()).getGeneration(), 0);
}

}  // namespace
}  // namespace belay::shim
