// Logs and standard streams through the real binary.
#include <fcntl.h>
#include <kj/debug.h>
#include <unistd.h>

#include <filesystem>

#include "shim/shim-test-fixture.h"

namespace belay::shim {
namespace {

TEST_F(ShimTest, AFloodIsLoggedWhole) {
  createPod();
  exitOf(run("a", "seq 1 200000"));
  std::string expected;
  for (int i = 1; i <= 200000; i++)
    expected += "stdout F " + std::to_string(i) + "\n";
  EXPECT_EQ(logOf("a"), expected);
}

TEST_F(ShimTest, ALongLineIsCutAtTheLimit) {
  createPod();
  exitOf(run("a", "head -c 40000 /dev/zero | tr '\\0' x; echo"));
  EXPECT_EQ(logOf("a"), "stdout P " + std::string(16384, 'x') + "\nstdout P " +
                            std::string(16384, 'x') + "\nstdout F " +
                            std::string(40000 - 2 * 16384, 'x') + "\n");
}

TEST_F(ShimTest, AnotherUserMayReopenItsOutput) {
  createPod();
  auto exit =
      exitOf(run("a", "id -u; echo again > /dev/stdout && echo oops > /dev/stderr", [](auto spec) {
        auto process = spec.getProcess();
        process.getUser().setUid(1000);
        process.initCapabilities();
      }));
  EXPECT_EQ(exit.getExit().getCode(), 0);
  auto log = logOf("a");
  EXPECT_NE(log.find("stdout F 1000\nstdout F again\n"), std::string::npos) << log;
  EXPECT_NE(log.find("stderr F oops\n"), std::string::npos) << log;
}

TEST_F(ShimTest, ATerminalHasOneStream) {
  createPod();
  auto container = run("a", "[ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo yes; echo err >&2; exit 2",
                       [](auto spec) { spec.getProcess().setTerminal(true); });
  EXPECT_EQ(exitOf(container).getExit().getCode(), 2);
  EXPECT_EQ(logOf("a"), "stdout F yes\nstdout F err\n");
}

TEST_F(ShimTest, WithoutStdinThereIsItsEndAtOnce) {
  createPod();
  EXPECT_EQ(exitOf(run("a", "cat; echo over")).getExit().getCode(), 0);
  EXPECT_EQ(logOf("a"), "stdout F over\n");
}

TEST_F(ShimTest, WithoutALogPathOutputIsTakenAndDropped) {
  createPod();
  auto exit = exitOf(run("a", "seq 1 100000; exit 3", [](auto spec) { spec.setLogPath(""); }));
  EXPECT_EQ(exit.getExit().getCode(), 3);
}

TEST_F(ShimTest, ABadLogPathFailsTheCreation) {
  createPod();
  std::filesystem::create_directories(logPathOf("a"));
  auto response = tryCreate("a", "true");
  ASSERT_TRUE(response.getOutcome().isFailed());
  EXPECT_NE(std::string(response.getOutcome().getFailed().getMessage().cStr()).find("0.log"),
            std::string::npos);
}

TEST_F(ShimTest, RotationLosesNothing) {
  createPod();
  auto container =
      run("a", "echo one; read line; echo two; read line", [](auto spec) { spec.setStdin(true); });
  awaitLog("a", "one");
  std::filesystem::rename(logPathOf("a"), logPathOf("a") + ".1");
  expectDone(await(container.reopenLogRequest().send()).getOutcome());
  int stdin;
  KJ_SYSCALL(stdin = open((podDirectory() + "/a/stdin").c_str(), O_WRONLY | O_CLOEXEC));
  kj::AutoCloseFd file(stdin);
  KJ_SYSCALL(write(stdin, "go\n", 3));
  awaitLog("a", "two");
  EXPECT_EQ(logOf("a"), "stdout F two\n");
  EXPECT_NE(readFile(logPathOf("a") + ".1").find("one"), std::string::npos);
}

TEST_F(ShimTest, OnlyARunningContainersLogIsReopened) {
  createPod();
  auto container = run("a", "true");
  exitOf(container);
  std::filesystem::remove(logPathOf("a"));
  expectFailed(await(container.reopenLogRequest().send()).getOutcome(),
               Failure::Code::FAILED_PRECONDITION);
  EXPECT_FALSE(std::filesystem::exists(logPathOf("a")));
}

TEST_F(ShimTest, OutputOfABackgroundProcessIsInTheLogBeforeTheExitIsTold) {
  createPod();
  // With no pid namespace's end to kill it, the child dies by the cgroup's.
  auto container = run("a", "(echo child; exec sleep 1000) & sleep 0.1; exit 0",
                       [](auto spec) { spec.setPid(NamespaceMode::NODE); });
  EXPECT_EQ(exitOf(container).getExit().getCode(), 0);
  EXPECT_EQ(logOf("a"), "stdout F child\n");
}

}  // namespace
}  // namespace belay::shim
