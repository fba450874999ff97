// What filters say, compared with what the kernel then does.
#include "shim/sys/filter.h"

#include <errno.h>
#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/bpf_common.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vector>

#include "shim/sys/privileges.h"

namespace belay::sys {
namespace {

constexpr sock_filter load(uint32_t offset) {
  return BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset);
}

constexpr sock_filter answer(uint32_t value) {
  return BPF_STMT(BPF_RET | BPF_K, value);
}

constexpr uint32_t NUMBER = offsetof(seccomp_data, nr);
constexpr uint32_t FIRST = offsetof(seccomp_data, args);
constexpr uint32_t REFUSE = SECCOMP_RET_ERRNO | EXDEV;

bool saysYes(const std::vector<sock_filter>& filter, int number, uint64_t first = 0) {
  return filterAllows(filter.data(), filter.size() * sizeof(sock_filter), number, first);
}

// Whether the kernel lets getpriority(which, 0), which changes nothing, through.
bool kernelLets(const std::vector<sock_filter>& filter, int which) {
  pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (loadFilter(filter.data(), filter.size() * sizeof(sock_filter), 0) < 0) _exit(2);
    _exit(syscall(SYS_getpriority, which, 0) < 0 && errno == EXDEV ? 1 : 0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) < 2) << status;
  return WEXITSTATUS(status) == 0;
}

TEST(FilterTest, AgreesWithTheKernelOnEveryJump) {
  for (uint16_t operation : {BPF_JEQ, BPF_JGT, BPF_JGE, BPF_JSET}) {
    std::vector<sock_filter> filter = {
        load(NUMBER),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpriority, 1, 0),
        answer(SECCOMP_RET_ALLOW),
        load(FIRST),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0x6),
        BPF_JUMP(BPF_JMP | operation | BPF_K, 2, 1, 0),
        BPF_STMT(BPF_JMP | BPF_JA, 1),
        answer(REFUSE),
        answer(SECCOMP_RET_ALLOW),
    };
    for (int which = 0; which < 8; ++which) {
      EXPECT_EQ(saysYes(filter, SYS_getpriority, which), kernelLets(filter, which))
          << operation << " " << which;
    }
    EXPECT_TRUE(saysYes(filter, SYS_getpid));
  }
}

TEST(FilterTest, OnlyAllowAndLogLetACallThrough) {
  EXPECT_TRUE(saysYes({answer(SECCOMP_RET_ALLOW)}, 1));
  EXPECT_TRUE(saysYes({answer(SECCOMP_RET_LOG)}, 1));
  for (uint32_t other : {REFUSE, uint32_t(SECCOMP_RET_KILL_PROCESS),
                         uint32_t(SECCOMP_RET_KILL_THREAD), uint32_t(SECCOMP_RET_TRAP),
                         uint32_t(SECCOMP_RET_TRACE), uint32_t(SECCOMP_RET_USER_NOTIF)}) {
    EXPECT_FALSE(saysYes({answer(other)}, 1));
  }
}

TEST(FilterTest, WhatIsUnknownOrBrokenLetsNothingThrough) {
  EXPECT_FALSE(saysYes({}, 1));
  EXPECT_FALSE(saysYes({load(NUMBER)}, 1));
  EXPECT_FALSE(saysYes({load(sizeof(seccomp_data)), answer(SECCOMP_RET_ALLOW)}, 1));
  EXPECT_FALSE(saysYes({BPF_STMT(BPF_MISC | BPF_TAX, 0), answer(SECCOMP_RET_ALLOW)}, 1));
  EXPECT_FALSE(saysYes({BPF_STMT(BPF_JMP | BPF_JA, 0xffffffff), answer(REFUSE)}, 1));
}

}  // namespace
}  // namespace belay::sys
