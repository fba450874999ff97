// See privileges.h.
#include "snapshot/confine/privileges.h"

#include <errno.h>
#include <grp.h>
#include <kj/common.h>
#include <kj/debug.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace belay::snapshot {

namespace {

void emptyBoundingSet() {
  for (unsigned capability = 0; capability < 64; ++capability) {
    if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0) {
      // EINVAL: the kernel has no such capability, nor any higher one.
      if (errno == EINVAL) break;
      KJ_FAIL_SYSCALL("prctl(PR_CAPBSET_DROP)", errno, capability);
    }
  }
}

void setCapabilities(CapabilityMask mask) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  for (int half : {0, 1}) {
    data[half].effective = data[half].permitted = static_cast<uint32_t>(mask >> (32 * half));
  }
  KJ_SYSCALL(syscall(SYS_capset, &header, data));
}

void limit(__rlimit_resource resource, rlim_t value) {
  struct rlimit both{value, value};
  KJ_SYSCALL(setrlimit(resource, &both), resource);
}

}  // namespace

void dropPrivileges(CapabilityMask keep, FileOwner owner) {
  if (geteuid() == 0) {
    emptyBoundingSet();
    KJ_SYSCALL(setgroups(0, nullptr));
    KJ_SYSCALL(setresgid(NOBODY, NOBODY, NOBODY));
    // Without KEEPCAPS leaving uid 0 would clear the permitted set, without which nothing can be
    // kept.
    KJ_SYSCALL(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0));
    KJ_SYSCALL(setresuid(NOBODY, NOBODY, NOBODY));
    if (owner == FileOwner::ROOT) {
      // Back in the effective set for these two calls only.
      setCapabilities(keep | 1 << CAP_SETUID | 1 << CAP_SETGID);
      setfsgid(0);
      setfsuid(0);
      // Neither call reports failure: asking with an impossible id tells what holds.
      KJ_REQUIRE(setfsuid(-1) == 0 && setfsgid(-1) == 0, "cannot create files as root");
    }
    setCapabilities(keep);
  } else {
    setCapabilities(0);
  }
  KJ_SYSCALL(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0));
}

void sealProcess(uint64_t memoryBytes) {
  KJ_SYSCALL(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  KJ_SYSCALL(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0));
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_MEMLOCK, 0);
#if !__has_feature(address_sanitizer)  // which reserves terabytes of addresses
  limit(RLIMIT_AS, memoryBytes);
#endif
}

void dieWithParent() {
  pid_t parent = getppid();
  KJ_SYSCALL(prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0));
  KJ_REQUIRE(getppid() == parent, "belayd died while this process started");
}

}  // namespace belay::snapshot
