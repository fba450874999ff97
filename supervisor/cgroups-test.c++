// Tests of cgroups.h with real cgroups, below a root of their own. They need root.
#include "supervisor/cgroups.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <kj/async-io.h>
#include <kj/debug.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "snapshot/failure.h"
#include "supervisor/text-file.h"

namespace belay::supervisor {
namespace {

class CgroupsTest : public testing::Test {
 public:
  ~CgroupsTest() noexcept override = default;

 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root: cgroups are made";
    KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&] { cgroups = kj::heap<Cgroups>(root); })) {
      GTEST_SKIP() << "needs cgroups: " << exception->getDescription().cStr();
    }
  }
  void TearDown() override {
    if (cgroups.get() != nullptr) destroy(root);
  }
  void destroy(kj::StringPtr path) {
    cgroups->destroy(kj::str(path), io.provider->getTimer()).wait(io.waitScope);
  }

  // A child that joins the home and waits to be killed; returned once it has joined.
  pid_t startIn(Cgroups::Home& home) {
    int pipe[2];
    KJ_SYSCALL(pipe2(pipe, O_CLOEXEC));
    kj::AutoCloseFd readEnd(pipe[0]), writeEnd(pipe[1]);
    pid_t pid;
    KJ_SYSCALL(pid = fork());
    if (pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      bool joined = true;
      for (auto& tasks : home.tasks)
        joined = write(tasks, "0", 1) == 1 && joined;
      if (home.folder.get() >= 0) {
        int procs = openat(home.folder, "cgroup.procs", O_WRONLY | O_CLOEXEC);
        joined = write(procs, "0", 1) == 1 && joined;
      }
      char answer = joined ? 'y' : 'n';
      if (write(writeEnd, &answer, 1) != 1) _exit(1);
      for (;;)
        pause();
    }
    char answer;
    ssize_t count;
    KJ_SYSCALL(count = read(readEnd, &answer, 1));
    EXPECT_EQ('y', answer);
    return pid;
  }

  kj::AsyncIoContext io = kj::setupAsyncIo();
  kj::String root = kj::str("belay-cgroups-test-", getpid());
  kj::Own<Cgroups> cgroups;
};

TEST_F(CgroupsTest, WhatSomebodyStillUsesIsNotRemoved) {
  auto pod = kj::str("/", root, "/shims");
  EXPECT_TRUE(cgroups->exists(pod));
  auto home = cgroups->makeHome("pod1");
  if (home.folder.get() < 0) GTEST_SKIP() << "no cgroup v2 hierarchy: nothing below the home";
  cgroups->removeIfUnused(pod);
  EXPECT_TRUE(cgroups->exists(kj::str(pod, "/pod1")));
  cgroups->removeIfUnused(kj::str(pod, "/pod1"));
  EXPECT_FALSE(cgroups->exists(kj::str(pod, "/pod1")));
  cgroups->removeIfUnused(pod);
  EXPECT_FALSE(cgroups->exists(pod));
  cgroups->removeIfUnused(pod);
}

TEST_F(CgroupsTest, AShimsHomeIsOutsideOursAndGoesWithAllItsProcesses) {
  auto home = cgroups->makeHome("pod1");
  pid_t pid = startIn(home);
  auto membership = readTextFile(kj::str("/proc/", pid, "/cgroup"), 1 << 16);
  EXPECT_NE(nullptr, strstr(membership.cStr(), kj::str(root, "/shims").cStr()))
      << membership.cStr();
  if (home.folder.get() < 0) {
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    GTEST_SKIP() << "no cgroup v2 hierarchy: shims have no home of their own to be killed in";
  }
  home.folder = nullptr;
  cgroups->removeHome("pod1", io.provider->getTimer()).wait(io.waitScope);
  cgroups->removeHome("pod1", io.provider->getTimer()).wait(io.waitScope);
  int status;
  EXPECT_EQ(pid, waitpid(pid, &status, 0));
  EXPECT_TRUE(WIFSIGNALED(status));
}

TEST_F(CgroupsTest, OneWhoseProcessesAreKilledIsLeftToItsOwner) {
  auto home = cgroups->makeHome("pod1");
  if (home.folder.get() < 0) GTEST_SKIP() << "no cgroup v2 hierarchy: processes are not moved";
  pid_t pid = startIn(home);
  auto path = kj::str('/', root, "/shims/pod1"), below = kj::str(path, "/keeper");
  EXPECT_FALSE(cgroups->hasProcess(below));
  cgroups->move(pid, below);
  EXPECT_TRUE(cgroups->hasProcess(below));
  EXPECT_TRUE(cgroups->hasProcess(path));
  cgroups->killAll(kj::str(path), io.provider->getTimer()).wait(io.waitScope);
  EXPECT_FALSE(cgroups->hasProcess(path));
  EXPECT_TRUE(cgroups->exists(below));
  waitpid(pid, nullptr, 0);
  home.folder = nullptr;
  destroy(path);
}

TEST_F(CgroupsTest, DestroysNestedOnesAndAbsentOnes) {
  auto home = cgroups->makeHome("outer/inner/innermost");
  pid_t pid = startIn(home);
  home.folder = nullptr;
  destroy(kj::str('/', root, "/shims/outer"));
  destroy(kj::str('/', root, "/shims/outer"));
  destroy("/belay-that-never-was");
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
}

TEST_F(CgroupsTest, TheRootIsNobodysToDestroy) {
  for (auto path : {"", "/", "//"}) {
    EXPECT_TRUE(kj::runCatchingExceptions([&] { destroy(path); }) != nullptr) << path;
  }
}

}  // namespace
}  // namespace belay::supervisor
