// Tests of foreign-exits.h: processes that somebody else reaps.
#include "shim/foreign-exits.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <kj/async-io.h>
#include <kj/debug.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shim/sys/pidfd.h"

namespace belay::shim {
namespace {

class ForeignExitsTest : public testing::Test {
 public:
  ~ForeignExitsTest() noexcept override = default;

 protected:
  // Ends with the code once `gate` is closed. A child here, but nothing under test relies on that.
  void spawn(int code) {
    int ends[2];
    KJ_SYSCALL(pipe2(ends, O_CLOEXEC));
    KJ_SYSCALL(pid = fork());
    if (pid == 0) {
      close(ends[1]);
      char byte;
      (void)!read(ends[0], &byte, 1);
      _exit(code);
    }
    close(ends[0]);
    gate = kj::AutoCloseFd(ends[1]);
    int fd;
    KJ_SYSCALL(fd = syscall(SYS_pidfd_open, pid, 0));
    pidfd = kj::AutoCloseFd(fd);
  }

  void awaitExit() {
    siginfo_t info;
    KJ_SYSCALL(waitid(P_PID, pid, &info, WEXITED | WNOWAIT));
  }
  void reap() { KJ_SYSCALL(waitpid(pid, nullptr, 0)); }

  // Whether this kernel tells strangers how a process ended (6.15).
  bool kernelTells() {
    int status;
    return sys::exitOf(pidfd, status) == 0;
  }

  ExitStatus await(kj::Promise<ExitStatus> promise) {
    return io.provider->getTimer()
        .timeoutAfter(20 * kj::SECONDS, kj::mv(promise))
        .wait(io.waitScope);
  }

  kj::AsyncIoContext io = kj::setupAsyncIo();
  ForeignExits exits{io.unixEventPort, io.provider->getTimer()};
  pid_t pid = -1;
  kj::AutoCloseFd pidfd, gate;
};

TEST_F(ForeignExitsTest, TheKernelTellsOnceSomebodyHasReapedIt) {
  spawn(42);
  auto exit = exits.onExit(pid, pidfd);
  EXPECT_FALSE(exit.poll(io.waitScope));
  gate = nullptr;
  awaitExit();
  EXPECT_FALSE(exit.poll(io.waitScope)) << "it is a zombie, of which nothing is known";
  reap();
  if (!kernelTells()) GTEST_SKIP() << "the kernel is older than 6.15";
  auto status = await(kj::mv(exit));
  EXPECT_TRUE(status.known);
  EXPECT_EQ(42, status.code);
  EXPECT_EQ(0, status.signal);
}

TEST_F(ForeignExitsTest, SignalsAreTold) {
  spawn(0);
  auto exit = exits.onExit(pid, pidfd);
  KJ_SYSCALL(kill(pid, SIGTERM));
  reap();
  if (!kernelTells()) GTEST_SKIP() << "the kernel is older than 6.15";
  auto status = await(kj::mv(exit));
  EXPECT_EQ(128 + SIGTERM, status.code);
  EXPECT_EQ(SIGTERM, status.signal);
}

TEST_F(ForeignExitsTest, TheSupervisorMayTellFirst) {
  spawn(0);
  auto exit = exits.onExit(pid, pidfd);
  gate = nullptr;
  awaitExit();
  EXPECT_FALSE(exit.poll(io.waitScope));
  exits.told(pid, {7, 0, 1234});
  auto status = await(kj::mv(exit));
  EXPECT_EQ(7, status.code);
  EXPECT_EQ(1234, status.finishedAtNs);
  reap();
}

TEST_F(ForeignExitsTest, WhatWasToldBeforeIsRemembered) {
  exits.told(4711, {7, 0, 1234});
  EXPECT_EQ(7, await(exits.onExit(4711, -1)).code);
}

TEST_F(ForeignExitsTest, NobodyKnows) {
  auto status = await(exits.onExit(4711, -1));
  EXPECT_FALSE(status.known);
  EXPECT_EQ(255, status.code);
}

}  // namespace
}  // namespace belay::shim
