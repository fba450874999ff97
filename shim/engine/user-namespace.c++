// A pod's user namespace.
#include "shim/engine/user-namespace.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/engine/text-file.h"
#include "shim/sys/privileges.h"

namespace belay::shim {
namespace {

constexpr const char* STEP = "enter the pod's user namespace";

// Every change of credentials undoes these.
void hideAgain(const Reporter& reporter) {
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || prctl(PR_SET_DUMPABLE, 0) < 0) {
    reporter.fail(STEP, "prctl", errno);
  }
}

}  // namespace

int writeIdMaps(pid_t child, IdMapping ids) {
  auto map = kj::str("0 ", ids.firstHostId, " ", ids.count, "\n");
  int error = tryWriteTextFile(AT_FDCWD, kj::str("/proc/", child, "/gid_map"), map);
  return error != 0 ? error : tryWriteTextFile(AT_FDCWD, kj::str("/proc/", child, "/uid_map"), map);
}

void makeFilesAsPod(const Reporter& reporter, IdMapping ids) {
  if (!ids.isOwn()) return;
  constexpr const char* OWNER_STEP = "make files as the pod's root";
  uint32_t root = ids.toHost(0);
  setfsgid(root);
  setfsuid(root);
  // They answer what it was before: a second call tells whether the first one did anything.
  if (uint32_t(setfsgid(-1)) != root || uint32_t(setfsuid(-1)) != root) {
    reporter.fail(OWNER_STEP, "", EPERM);
  }
  // The change took the capabilities that are about files out of the effective set.
  uint64_t permitted;
  if (sys::permittedCapabilities(permitted) < 0 ||
      sys::setCapabilities(permitted, permitted, 0) < 0) {
    reporter.fail(OWNER_STEP, "capabilities", errno);
  }
  hideAgain(reporter);
}

void becomeRootOfPod(const Reporter& reporter) {
  if (syscall(SYS_setgroups, size_t(0), nullptr) < 0 || setresgid(0, 0, 0) < 0 ||
      setresuid(0, 0, 0) < 0) {
    reporter.fail(STEP, "become its root", errno);
  }
  hideAgain(reporter);
}

void enterUserNamespace(const Reporter& reporter, int handle) {
  if (setns(handle, CLONE_NEWUSER) < 0) reporter.fail(STEP, "setns", errno);
  becomeRootOfPod(reporter);
}

}  // namespace belay::shim
