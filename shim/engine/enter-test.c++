// System tests of entering containers.
#include "shim/engine/enter.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "shim/engine/engine-test-fixture.h"
#include "shim/engine/text-file.h"
#include "shim/sys/pidfd.h"

namespace belay::shim {
namespace {

class EnterTest : public EngineTest {
 protected:
  ~EnterTest() noexcept override {}

  // A running container that sleeps.
  void start() {
    setCommand(containerSpec().getProcess(), {"sleep"_kj, "1000"_kj});
    running = prepareWell();
    EXPECT_TRUE(releaseGate(context, running).wait(wait) == nullptr);
    readerOfContainer = takeInput();
  }

  Prepared running;
  kj::AutoCloseFd readerOfContainer;

  void TearDown() override {
    running = Prepared();
    readerOfContainer = nullptr;
    EngineTest::TearDown();
  }
};

TEST_F(EnterTest, RunsInTheContainersNamespaces) {
  start();
  auto result = exec(execSpec("hostname; ps -o comm; exit 3"), running);
  EXPECT_EQ(result.output, "web-0\nCOMMAND\nsleep\nsh\nps\n");
  EXPECT_EQ(result.code, 3);
}

TEST_F(EnterTest, HasUserDirectoryAndNothingOfTheShims) {
  start();
  auto process = execSpec(
      "id -u; id -G; pwd; echo $HOME; grep CapEff /proc/self/status; exec ls /proc/self/fd");
  process.getUser().setName("web");
  process.setCwd("/etc");
  EXPECT_EQ(exec(process, running).output,
            "1000\n1001 1002\n/etc\n/home/web\nCapEff:\t0000000000000000\n0\n1\n2\n3\n");
}

TEST_F(EnterTest, MissingCommandAndUserAreFailures) {
  start();
  auto own = cgroup->createChild("exec");
  auto process = execSpec("");
  setCommand(process, {"/no/such"_kj});
  auto entered = enter(process, running.pidfd, *own);
  EXPECT_EQ(entered.get<FailureValue>().code, Failure::Code::NOT_FOUND);
  auto other = execSpec("true");
  other.getUser().setName("nobody-here");
  EXPECT_EQ(enter(other, running.pidfd, *own).get<FailureValue>().step, "find the user");
}

TEST_F(EnterTest, ItsCgroupKillsAllThatItStarted) {
  start();
  auto own = cgroup->createChild("exec");
  auto result =
      enter(execSpec("sleep 1000 & sleep 1000 & echo up; sleep 1000"), running.pidfd, *own);
  ASSERT_TRUE(result.is<Entered>()) << result.get<FailureValue>().message.cStr();
  auto& entered = result.get<Entered>();
  // The shell's background children exist once its line is out.
  EXPECT_EQ(readLine(), "up\n");
  EXPECT_GE(own->pids().size(), 3);
  own->kill();
  own->whenEmpty(context).wait(wait);
  EXPECT_EQ(waitFor(entered.pidfd), 128 + SIGKILL);
  EXPECT_EQ(readOutput(), "");
  EXPECT_EQ(cgroup->pids().size(), 1);
  own->remove();
}

TEST_F(EnterTest, AContainerThatHasExitedCannotBeEntered) {
  start();
  KJ_SYSCALL(sys::sendSignal(running.pidfd, SIGKILL));
  waitFor(running.pidfd);
  auto own = cgroup->createChild("exec");
  EXPECT_EQ(enter(execSpec("true"), running.pidfd, *own).get<FailureValue>().code,
            Failure::Code::FAILED_PRECONDITION);
}

TEST_F(EnterTest, HasATerminalOfTheContainers) {
  start();
  auto own = cgroup->createChild("exec");
  auto process = execSpec("tty; test -t 0 && echo yes");
  process.setTerminal(true);
  auto result =
      enterContainer(context, process, {running.pidfd, namespaces.ids}, *own, {.terminal = true})
          .wait(wait);
  ASSERT_TRUE(result.is<Entered>()) << result.get<FailureValue>().message.cStr();
  auto& entered = result.get<Entered>();
  EXPECT_EQ(waitFor(entered.pidfd), 0);
  EXPECT_EQ(readTerminal(entered.ptyMaster), "/dev/pts/0\r\nyes\r\n");
}

}  // namespace
}  // namespace belay::shim
