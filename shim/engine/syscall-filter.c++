// The system call filter of a container's process, and when it is loaded.
#include "shim/engine/syscall-filter.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/engine/seccomp-listener.h"
#include "shim/sys/filter.h"
#include "shim/sys/privileges.h"

namespace belay::shim {
namespace {

static_assert(ADMIN_CAPABILITY == uint64_t(1) << CAP_SYS_ADMIN);

constexpr const char* STEP = "load the seccomp filter";

// A sibling gets its creator's signal at the end.
constexpr uint64_t SIBLING = CLONE_PARENT | CLONE_PIDFD;

// What is called between an early filter and the command, failures included.
bool letsTheRestPass(kj::ArrayPtr<const kj::byte> filter) {
  auto lets = [&](int number, uint64_t first = 0, uint64_t second = 0) {
    return sys::filterAllows(filter.begin(), filter.size(), number, first, second);
  };
  for (int number : {SYS_capget, SYS_capset, SYS_sendmsg, SYS_exit_group, SYS_setsid, SYS_close,
                     SYS_close_range, SYS_read, SYS_write, SYS_execve}) {
    if (!lets(number)) return false;
  }
  return lets(SYS_clone, SIBLING) && lets(SYS_ioctl, STDIN_FILENO, TIOCSCTTY);
}

}  // namespace

bool filterNeedsAdmin(ProcessSpec::Reader process) {
  return process.getSeccompFilter().size() > 0 && !process.getNoNewPrivileges();
}

void loadSyscallFilter(const Reporter& reporter, Execution& execution) {
  auto filter = execution.filter;
  if (filter.size() == 0 || execution.filterLoaded) return;
  unsigned flags = execution.filterFlags;
  if (execution.hasListener) flags |= SECCOMP_FILTER_FLAG_NEW_LISTENER;
  int listener = sys::loadFilter(filter.begin(), filter.size(), flags);
  if (listener < 0) reporter.fail(STEP, "", errno);
  execution.filterLoaded = true;
  if (execution.hasListener) {
    // Before any other call: who is to answer for it must know.
    offerListener(reporter, listener);
    close(listener);
  }
  if (execution.noNewPrivileges) return;

  uint64_t own;
  if (sys::permittedCapabilities(own) < 0) reporter.fail(STEP, "", errno);
  // Ambient capabilities go along: they are among the permitted and inheritable ones that stay.
  own &= ~(ADMIN_CAPABILITY & ~execution.permitted);
  if (sys::setCapabilities(execution.effective & own, execution.permitted & own,
                           execution.inheritable & own) < 0) {
    reporter.fail(STEP, "", errno, "the filter forbids capset, which must follow it");
  }
}

void loadSyscallFilterEarly(const Reporter& reporter, Execution& execution) {
  if (execution.hasListener || !letsTheRestPass(execution.filter)) return;
  loadSyscallFilter(reporter, execution);
}

pid_t cloneFilteredSibling(int& pidfd) {
  // Not clone3, whose flags no filter can see and which many therefore do not let pass. The C
  // library's clone wants a stack; with none this is fork.
  return syscall(SYS_clone, SIBLING, nullptr, &pidfd, nullptr, nullptr);
}

}  // namespace belay::shim
