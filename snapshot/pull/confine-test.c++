// Tests what a confined process can still do, from inside: each test forks a child that gives its
// powers away and then tries something.
#include "snapshot/pull/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "snapshot/confine/seccomp-filter.h"

namespace belay::snapshot {
namespace {

// The wait status of a child that runs `act` and exits with what it returns.
template <typename Act>
int inChild(Act act) {
  pid_t child = fork();
  if (child == 0) {
    int result = 99;
    try {
      result = act();
    } catch (...) {
      result = 98;
    }
    _exit(result);
  }
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return status;
}

bool wasKilled(int status) {
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
}

// 0 when the call fails with `expected`, else its errno, or 97 when it succeeds.
int failsWith(long result, int expected) {
  if (result >= 0) return 97;
  return errno == expected ? 0 : errno;
}

class ConfineTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "only root can give its powers away";
  }
};

TEST_F(ConfineTest, PipesCanOnlyReadAndWrite) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  EXPECT_EQ(inChild([&]() {
              confineToPipes();
              char byte = 'x';
              return write(ends[1], &byte, 1) == 1 && read(ends[0], &byte, 1) == 1 ? 0 : 1;
            }),
            0);
  close(ends[0]);
  close(ends[1]);
}

TEST_F(ConfineTest, PipesOpenNothing) {
  EXPECT_EQ(inChild([]() {
              confineToPipes();
              return failsWith(open("/etc/passwd", O_RDONLY), EPERM);
            }),
            0);
}

TEST_F(ConfineTest, PipesAreKilledForReachingOut) {
  EXPECT_TRUE(wasKilled(inChild([]() {
    confineToPipes();
    return socket(AF_INET, SOCK_STREAM, 0) >= 0;
  })));
  EXPECT_TRUE(wasKilled(inChild([]() {
    confineToPipes();
    return kill(getppid(), 0);
  })));
  EXPECT_TRUE(wasKilled(inChild([]() {
    confineToPipes();
    return fork() >= 0;
  })));
}

TEST_F(ConfineTest, RpcOpensNothingEither) {
  EXPECT_EQ(inChild([]() {
              confineToRpc();
              return failsWith(open("/etc/passwd", O_RDONLY), EPERM);
            }),
            0);
  EXPECT_TRUE(wasKilled(inChild([]() {
    confineToRpc();
    return socket(AF_UNIX, SOCK_STREAM, 0) >= 0;
  })));
}

TEST_F(ConfineTest, NetworkReadsConfigurationAndConnects) {
  EXPECT_EQ(inChild([]() {
              confineToNetwork();
              return open("/etc/passwd", O_RDONLY) >= 0 && socket(AF_INET, SOCK_STREAM, 0) >= 0 ? 0
                                                                                                : 1;
            }),
            0);
}

TEST_F(ConfineTest, NetworkWritesNowhere) {
  std::string folder = ::testing::TempDir() + "belay-confine-XXXXXX";
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  // Open to everybody, so that not the user id alone refuses.
  ASSERT_EQ(chmod(folder.c_str(), 0777), 0);
  bool landlock = syscall(SYS_landlock_create_ruleset, nullptr, 0, 1) > 0;
  if (landlock) {
    EXPECT_EQ(inChild([&]() {
                confineToNetwork();
                return failsWith(open((folder + "/new").c_str(), O_WRONLY | O_CREAT, 0666), EACCES);
              }),
              0);
  }
  EXPECT_EQ(inChild([&]() {
              confineToNetwork();
              return failsWith(open("/etc/belay-confine-test", O_WRONLY | O_CREAT, 0666), EACCES);
            }),
            0);
  rmdir(folder.c_str());
  if (!landlock) GTEST_SKIP() << "this kernel has no Landlock; only the user id was tested";
}

TEST_F(ConfineTest, NetworkStartsNothing) {
  EXPECT_EQ(inChild([]() {
              confineToNetwork();
              char* arguments[] = {nullptr};
              return failsWith(execve("/bin/true", arguments, arguments), EPERM);
            }),
            0);
  EXPECT_EQ(inChild([]() {
              confineToNetwork();
              return failsWith(unshare(CLONE_NEWUSER), EPERM);
            }),
            0);
  EXPECT_EQ(inChild([]() {
              confineToNetwork();
              return failsWith(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0), EPERM);
            }),
            0);
}

TEST_F(ConfineTest, FolderIsTheWholeWorld) {
  std::string folder = ::testing::TempDir() + "belay-confine-XXXXXX";
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  auto confined = [&](auto act) {
    return inChild([&]() {
      kj::AutoCloseFd root =
          confineToFolder(kj::AutoCloseFd(open(folder.c_str(), O_PATH | O_DIRECTORY)));
      return act(root);
    });
  };
  EXPECT_EQ(confined([](int root) {
              return failsWith(openat(root, "../../../../etc/passwd", O_RDONLY), ENOENT);
            }),
            0);
  EXPECT_EQ(confined([](int) { return failsWith(open("/proc/self/status", O_RDONLY), ENOENT); }),
            0);
  // Root's files it may make, and others'; a device it makes cannot be opened.
  EXPECT_EQ(confined([](int root) {
              if (mknodat(root, "null", S_IFCHR | 0666, 0x103) != 0) return 1;
              if (fchownat(root, "null", 1000, 1000, 0) != 0) return 2;
              return failsWith(openat(root, "null", O_RDWR), EACCES);
            }),
            0);
  EXPECT_TRUE(wasKilled(confined([](int) { return kill(getppid(), 0); })));
  EXPECT_TRUE(wasKilled(confined([](int) { return mount("none", "/", "proc", 0, nullptr); })));
  EXPECT_TRUE(wasKilled(confined([](int) { return chroot("/"); })));
  unlink((folder + "/null").c_str());
  rmdir(folder.c_str());
}

}  // namespace
}  // namespace belay::snapshot
