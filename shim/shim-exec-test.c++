// ExecSync through the real binary: output, limits, time-outs, and what lives on or dies.
#include <kj/debug.h>
#include <sys/stat.h>

#include <filesystem>

#include "shim/shim-test-fixture.h"

namespace belay::shim {
namespace {

class ShimExecTest : public ShimTest {
 protected:
  Container::Client runSleeper() {
    createPod();
    return run("a", "echo ready; exec sleep 1000");
  }
};

TEST_F(ShimExecTest, GivesOutputAndExitCode) {
  auto container = runSleeper();
  auto answer = await(execSync(container, "echo out; echo err >&2; cat; exit 7"));
  expectDone(answer.results.getOutcome());
  EXPECT_EQ(answer.out, "out\n");
  EXPECT_EQ(answer.err, "err\n");
  EXPECT_EQ(answer.results.getExitCode(), 7);
  EXPECT_FALSE(answer.results.getTimedOut());
}

TEST_F(ShimExecTest, RunsInTheContainer) {
  auto container = runSleeper();
  auto answer = await(
      execSync(container, "cat /proc/sys/kernel/hostname; echo $$ > /tmp/x; cat /proc/1/comm"));
  EXPECT_EQ(answer.out, "web-0\nsleep\n") << answer.err;
}

TEST_F(ShimExecTest, TheSignalIsInTheCode) {
  auto container = runSleeper();
  EXPECT_EQ(await(execSync(container, "kill -9 $$")).results.getExitCode(), 137);
}

TEST_F(ShimExecTest, AMissingCommandIsNotFound) {
  auto container = runSleeper();
  auto request = container.execSyncRequest();
  request.initProcess().initArgs(1).set(0, "/no/such/command"_kj.asBytes());
  expectFailed(await(request.send()).getOutcome(), Failure::Code::NOT_FOUND);
}

TEST_F(ShimExecTest, NeedsARunningContainer) {
  createPod();
  auto container = create("a", "exit 0");
  expectFailed(await(execSync(container, "true")).results.getOutcome(),
               Failure::Code::FAILED_PRECONDITION);
  start(container);
  exitOf(container);
  expectFailed(await(execSync(container, "true")).results.getOutcome(),
               Failure::Code::FAILED_PRECONDITION);
}

TEST_F(ShimExecTest, OutputIsCappedAndTheProcessNotHeldUp) {
  auto container = runSleeper();
  auto answer = await(execSync(container, "head -c 20000000 /dev/zero; echo done >&2"));
  EXPECT_EQ(answer.out.size(), 16u << 20);
  EXPECT_EQ(answer.err, "done\n");
  EXPECT_EQ(answer.results.getExitCode(), 0);
}

TEST_F(ShimExecTest, ATimeOutKillsAllThatItStarted) {
  auto container = runSleeper();
  auto answer = await(execSync(container, "setsid sleep 1000 & echo started; sleep 1000", 300));
  expectDone(answer.results.getOutcome());
  EXPECT_TRUE(answer.results.getTimedOut());
  EXPECT_EQ(answer.out, "started\n");
  // A killed one may stay a zombie: the container's first process reaps nothing.
  auto left = await(execSync(container, "cat /proc/[0-9]*/stat")).out;
  EXPECT_NE(left.find("(sleep) S"), std::string::npos);
  EXPECT_EQ(left.find("(sleep) S"), left.rfind("(sleep) S"))
      << "only the container's own: " << left;
}

TEST_F(ShimExecTest, ADroppedCallKillsTheProcess) {
  auto container = runSleeper();
  {
    auto dropped =
        execSync(container, "echo $$ > /tmp/pid; echo started > /proc/1/fd/1; sleep 1000");
    awaitLog("a", "ready");
    // The call is on its way as soon as the loop runs; the container's own log tells when it is
    // there.
    while (logOf("a").find("started") == std::string::npos) {
      EXPECT_FALSE(dropped.poll(io.waitScope));
    }
  }
  auto gone = await(execSync(
      container, "while [ -d /proc/$(cat /tmp/pid) ]; do sleep 0.01; done; echo gone", 20'000));
  EXPECT_EQ(gone.out, "gone\n");
}

TEST_F(ShimExecTest, WhatItLeavesInTheBackgroundLivesOn) {
  auto container = runSleeper();
  auto answer = await(execSync(container, "sleep 1000 >/dev/null 2>&1 & echo $!"));
  ASSERT_FALSE(answer.out.empty());
  auto check = kj::str("[ -d /proc/", answer.out.substr(0, answer.out.size() - 1).c_str(), " ]");
  EXPECT_EQ(await(execSync(container, check)).results.getExitCode(), 0);
}

TEST_F(ShimExecTest, OutputThatABackgroundProcessKeepsIsWaitedForASecondAtMost) {
  auto container = runSleeper();
  auto answer = await(execSync(container, "sleep 1000 & echo out"));
  EXPECT_EQ(answer.out, "out\n");
  EXPECT_EQ(answer.results.getExitCode(), 0);
}

TEST_F(ShimExecTest, ManyAtOnce) {
  auto container = runSleeper();
  kj::Vector<kj::Promise<ExecAnswer>> execs;
  for (int i = 0; i < 30; i++)
    execs.add(execSync(container, kj::str("echo ", i)));
  for (int i = 0; i < 30; i++) {
    EXPECT_EQ(await(kj::mv(execs[i])).out, std::to_string(i) + "\n");
  }
}

TEST_F(ShimExecTest, TheContainersEndEndsIt) {
  auto container = runSleeper();
  auto running = execSync(container, "echo started > /proc/1/fd/1; sleep 1000");
  while (logOf("a").find("started") == std::string::npos) {
    EXPECT_FALSE(running.poll(io.waitScope));
  }
  await(container.stopRequest().send());
  EXPECT_EQ(await(kj::mv(running)).results.getExitCode(), 137);
}

TEST_F(ShimExecTest, OneThatTheContainersEndOvertakesSaysSo) {
  createPod();
  for (int round = 0; round < 20; round++) {
    auto container = run(kj::str("a", round), "echo ready; exec sleep 1000");
    kj::Vector<kj::Promise<ExecAnswer>> execs;
    for (int i = 0; i < 5; i++)
      execs.add(execSync(container, "exit 7"));
    await(container.stopRequest().send());
    for (auto& exec : execs) {
      auto answer = await(kj::mv(exec));
      auto outcome = answer.results.getOutcome();
      if (outcome.isFailed()) expectFailed(outcome, Failure::Code::FAILED_PRECONDITION);
    }
    await(container.removeRequest().send());
  }
}

TEST_F(ShimExecTest, NoDescriptorAndNoCgroupIsLeft) {
  auto container = runSleeper();
  await(execSync(container, "true"));
  auto count = [&]() {
    auto fds = std::filesystem::directory_iterator("/proc/" + std::to_string(shimPid) + "/fd");
    return std::distance(begin(fds), end(fds));
  };
  auto before = count();
  for (int i = 0; i < 20; i++)
    await(execSync(container, "echo x"));
  // The answers' memory files go when the release of their capabilities has arrived.
  await(shim().infoRequest().send());
  EXPECT_LE(count(), before + 2);
}

}  // namespace
}  // namespace belay::shim
