// See first-process.h.
#include "supervisor/first-process.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "supervisor/text-file.h"

namespace belay::supervisor {

namespace {

constexpr size_t MAX_CGROUP_BYTES = 1 << 16;

// /proc/PID/cgroup has lines "4:memory:/kubepods/pod1/c1".
bool isInCgroup(pid_t pid, kj::StringPtr path) {
  auto file = kj::str("/proc/", pid, "/cgroup");
  if (access(file.cStr(), F_OK) != 0) return false;
  bool found = false;
  // It may go away while it is read.
  auto exception = kj::runCatchingExceptions([&] {
    auto text = readTextFile(file, MAX_CGROUP_BYTES);
    for (auto& line : splitText(text, '\n')) {
      if (line.endsWith(kj::str(':', path))) found = true;
    }
  });
  return found;
}

}  // namespace

kj::Maybe<kj::AutoCloseFd> openFirstProcess(const HeldDescriptors& held, Container& container) {
  KJ_IF_MAYBE (kept, held.find(kj::str(container.id(), "/pidfd"))) {
    int copy;
    KJ_SYSCALL(copy = fcntl(*kept, F_DUPFD_CLOEXEC, 0));
    return kj::AutoCloseFd(copy);
  }
  pid_t pid = container.get().getLast().getPid();
  if (pid <= 0) return nullptr;
  int fd;
  KJ_SYSCALL_HANDLE_ERRORS(fd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0))) {
    case ESRCH:
      return nullptr;
    default:
      KJ_FAIL_SYSCALL("pidfd_open", error, pid);
  }
  kj::AutoCloseFd own(fd);
  // After it was opened: the number cannot change hands now.
  auto path = container.get().getSpec().getCgroupPath();
  if (path.size() == 0 || !isInCgroup(pid, path)) return nullptr;
  return kj::mv(own);
}

bool signalProcess(int pidfd, int signal) {
  KJ_SYSCALL_HANDLE_ERRORS(syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0)) {
    case ESRCH:
      return false;
    default:
      KJ_FAIL_SYSCALL("pidfd_send_signal", error, signal);
  }
  return true;
}

bool isOurChild(pid_t pid) {
  siginfo_t info;
  return pid > 0 && waitid(P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

}  // namespace belay::supervisor
