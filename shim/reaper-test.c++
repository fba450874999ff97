// Tests of reaper.h with real children.
#include "shim/reaper.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <kj/async-io.h>
#include <kj/debug.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

namespace belay::shim {
namespace {

// A child that waits for a byte and then ends as told. (Not for EOF: a later child holds the gate,
// too.)
struct Child {
  template <typename End>
  explicit Child(End&& end) {
    int fds[2];
    KJ_SYSCALL(pipe2(fds, O_CLOEXEC));
    kj::AutoCloseFd readEnd(fds[0]);
    gate = kj::AutoCloseFd(fds[1]);
    KJ_SYSCALL(pid = fork());
    if (pid == 0) {
      close(fds[1]);
      char byte;
      (void)!read(fds[0], &byte, 1);
      end();
      _exit(99);
    }
  }
  void release() { KJ_SYSCALL(write(gate, "x", 1)); }

  pid_t pid;
  kj::AutoCloseFd gate;
};

class ReaperTest : public ::testing::Test {
 protected:
  ~ReaperTest() noexcept override {}
  static void SetUpTestSuite() { kj::UnixEventPort::captureSignal(SIGCHLD); }

  kj::AsyncIoContext io = kj::setupAsyncIo();
  Reaper reaper{io.unixEventPort};
};

TEST_F(ReaperTest, TellsTheExitCode) {
  Child child([] { _exit(42); });
  auto exited = reaper.onExit(child.pid);
  EXPECT_FALSE(exited.poll(io.waitScope));
  child.release();
  auto status = exited.wait(io.waitScope);
  EXPECT_EQ(status.code, 42);
  EXPECT_EQ(status.signal, 0);
  EXPECT_GT(status.finishedAtNs, 1'600'000'000'000'000'000);
}

TEST_F(ReaperTest, TellsTheSignal) {
  Child child([] {});
  auto exited = reaper.onExit(child.pid);
  KJ_SYSCALL(kill(child.pid, SIGKILL));
  auto status = exited.wait(io.waitScope);
  EXPECT_EQ(status.code, 137);
  EXPECT_EQ(status.signal, SIGKILL);
}

TEST_F(ReaperTest, ReapsManyAtOnce) {
  kj::Vector<kj::Own<Child>> children;
  kj::Vector<kj::Promise<ExitStatus>> exits;
  for (int i = 0; i < 20; i++) {
    children.add(kj::heap<Child>([i] { _exit(i); }));
    exits.add(reaper.onExit(children[i]->pid));
  }
  for (auto& child : children)
    child->release();
  for (int i = 0; i < 20; i++)
    EXPECT_EQ(exits[i].wait(io.waitScope).code, i);
}

TEST_F(ReaperTest, ADroppedWaiterDoesNotLeaveAZombie) {
  Child dropped([] { _exit(1); });
  Child other([] { _exit(2); });
  {
    auto unwanted = reaper.onExit(dropped.pid);
  }
  auto exited = reaper.onExit(other.pid);
  dropped.release();
  // The second child ends only after the first has become a zombie, so one pass reaps both.
  siginfo_t info{};
  KJ_SYSCALL(waitid(P_PID, dropped.pid, &info, WEXITED | WNOWAIT));
  other.release();
  EXPECT_EQ(exited.wait(io.waitScope).code, 2);
  EXPECT_EQ(kill(dropped.pid, 0), -1);
  EXPECT_EQ(errno, ESRCH);
}

TEST_F(ReaperTest, AHoldKeepsTheStatusOfAnOrphanWhosePidArrivesLater) {
  KJ_SYSCALL(prctl(PR_SET_CHILD_SUBREAPER, 1));
  int fds[2];
  KJ_SYSCALL(pipe2(fds, O_CLOEXEC));
  kj::AutoCloseFd readEnd(fds[0]), writeEnd(fds[1]);
  Reaper::Hold hold(reaper);
  // The child's child outlives it and becomes ours.
  Child child([&] {
    pid_t grandchild = fork();
    if (grandchild == 0) _exit(7);
    (void)!write(fds[1], &grandchild, sizeof(grandchild));
    _exit(0);
  });
  auto exited = reaper.onExit(child.pid);
  child.release();
  exited.wait(io.waitScope);
  pid_t grandchild = 0;
  ASSERT_EQ(read(fds[0], &grandchild, sizeof(grandchild)), ssize_t(sizeof(grandchild)));
  auto late = reaper.onExit(grandchild);
  EXPECT_EQ(late.wait(io.waitScope).code, 7);
}

}  // namespace
}  // namespace belay::shim
