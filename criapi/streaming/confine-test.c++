// Tests what a confined session can still do, from inside a child of the test.
#include "criapi/streaming/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace belay::criapi::streaming {
namespace {

template <typename Act>
int inChild(Act act) {
  pid_t child = fork();
  if (child == 0) {
    int result = 99;
    try {
      confine();
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

class ConfineTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "only root can give its powers away";
  }
};

TEST_F(ConfineTest, ReadsWritesAndReceives) {
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
  EXPECT_EQ(inChild([&]() {
              char byte = 'x';
              return send(ends[1], &byte, 1, 0) == 1 && recv(ends[0], &byte, 1, 0) == 1 ? 0 : 1;
            }),
            0);
  close(ends[0]);
  close(ends[1]);
}

// From outside, since a confined process cannot look at itself.
TEST_F(ConfineTest, IsNobodyInAnEmptyRoot) {
  int ready[2], gate[2];
  ASSERT_EQ(pipe(ready), 0);
  ASSERT_EQ(pipe(gate), 0);
  pid_t child = fork();
  if (child == 0) {
    close(gate[1]);
    close(ready[0]);
    try {
      confine();
    } catch (...) {
      _exit(1);
    }
    char byte = 'r';
    if (write(ready[1], &byte, 1) != 1) _exit(2);
    // Until the test closes its end.
    _exit(read(gate[0], &byte, 1) == 0 ? 0 : 3);
  }
  close(ready[1]);
  close(gate[0]);
  char byte;
  EXPECT_EQ(read(ready[0], &byte, 1), 1);
  std::string proc = "/proc/" + std::to_string(child);
  std::ifstream status(proc + "/status");
  std::string text((std::istreambuf_iterator<char>(status)), std::istreambuf_iterator<char>());
  EXPECT_NE(text.find("Uid:\t65534\t65534\t65534\t65534"), std::string::npos) << text;
  EXPECT_NE(text.find("CapEff:\t0000000000000000"), std::string::npos) << text;
  EXPECT_NE(text.find("CapPrm:\t0000000000000000"), std::string::npos) << text;
  EXPECT_NE(text.find("CapBnd:\t0000000000000000"), std::string::npos) << text;
  EXPECT_NE(text.find("NoNewPrivs:\t1"), std::string::npos) << text;
  EXPECT_NE(text.find("Seccomp:\t2"), std::string::npos) << text;
  EXPECT_TRUE(std::filesystem::is_empty(proc + "/root"));
  EXPECT_NE(mkdir((proc + "/root/new").c_str(), 0700), 0);
  EXPECT_EQ(errno, EROFS);
  close(gate[1]);
  int ended;
  ASSERT_EQ(waitpid(child, &ended, 0), child);
  EXPECT_EQ(ended, 0);
  close(ready[0]);
}

TEST_F(ConfineTest, OpensNothing) {
  EXPECT_EQ(inChild([]() { return open("/", O_RDONLY) < 0 && errno == EPERM ? 0 : 1; }), 0);
}

TEST_F(ConfineTest, IsKilledForReachingOut) {
  EXPECT_TRUE(wasKilled(inChild([]() { return socket(AF_INET, SOCK_STREAM, 0); })));
  EXPECT_TRUE(wasKilled(inChild([]() { return kill(getppid(), 0); })));
  EXPECT_TRUE(wasKilled(inChild([]() { return fork(); })));
  EXPECT_TRUE(wasKilled(inChild([]() { return chroot("/"); })));
  EXPECT_TRUE(wasKilled(inChild([]() { return execl("/bin/true", "true", nullptr); })));
}

}  // namespace
}  // namespace belay::criapi::streaming
