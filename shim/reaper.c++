// Implementation of reaper.h.
#include "shim/reaper.h"

#include <errno.h>
#include <kj/debug.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "shim/sys/clock.h"

namespace belay::shim {
namespace {

// Orphans that exit while a Hold lives are remembered up to this number: a fork bomb in a container
// must not grow the shim.
constexpr size_t MAX_UNCLAIMED = 1024;

ExitStatus toExitStatus(const siginfo_t& info) {
  if (info.si_code == CLD_EXITED) return {info.si_status, 0, realtimeNs()};
  return {128 + info.si_status, info.si_status, realtimeNs()};
}

}  // namespace

bool Reaper::isChild(pid_t pid) {
  siginfo_t info{};
  return waitid(P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

// One onExit() promise; unregisters itself when the promise is dropped.
struct Reaper::Waiter {
  Waiter(kj::PromiseFulfiller<ExitStatus>& fulfiller, Reaper& reaper, pid_t pid)
      : fulfiller(fulfiller), reaper(reaper), pid(pid) {
    reaper.waiters.insert(pid, this);
  }
  ~Waiter() noexcept(false) {
    if (registered) reaper.waiters.erase(pid);
  }

  void exited(ExitStatus status) {
    registered = false;
    fulfiller.fulfill(kj::mv(status));
  }

  kj::PromiseFulfiller<ExitStatus>& fulfiller;
  Reaper& reaper;
  pid_t pid;
  bool registered = true;
};

Reaper::Reaper(kj::UnixEventPort& port) : port(port), tasks(*this) {
  kj::UnixEventPort::captureSignal(SIGCHLD);
  tasks.add(run());
}

Reaper::~Reaper() noexcept(false) {}

kj::Promise<ExitStatus> Reaper::onExit(pid_t pid) {
  KJ_IF_MAYBE (status, unclaimed.find(pid)) {
    ExitStatus result = *status;
    unclaimed.erase(pid);
    // A child of that number now: the status is that of a process that had it before.
    if (!isChild(pid)) return result;
  }
  KJ_REQUIRE(waiters.find(pid) == nullptr, "somebody waits for this process already", pid);
  return kj::newAdaptedPromise<ExitStatus, Waiter>(*this, pid);
}

kj::Promise<void> Reaper::run() {
  co_await kj::evalLater([]() {});
  for (;;) {
    // SIGCHLD is blocked and stays pending, so a child that exits between the two lines is seen:
    // the signal is asked for first.
    auto signalled = port.onSignal(SIGCHLD);
    reapAll();
    co_await signalled;
  }
}

void Reaper::reapAll() {
  for (;;) {
    siginfo_t info{};
    int result;
    do {
      result = waitid(P_ALL, 0, &info, WEXITED | WNOHANG);
    } while (result < 0 && errno == EINTR);
    if (result < 0 && errno == ECHILD) return;
    if (result < 0) KJ_FAIL_SYSCALL("waitid", errno);
    if (info.si_pid == 0) return;  // children live, none has exited

    auto status = toExitStatus(info);
    KJ_IF_MAYBE (waiter, waiters.find(info.si_pid)) {
      Waiter* found = *waiter;
      waiters.erase(info.si_pid);
      found->exited(status);
    } else if (holds > 0 && unclaimed.size() < MAX_UNCLAIMED) {
      unclaimed.upsert(info.si_pid, status);
    }
  }
}

void Reaper::taskFailed(kj::Exception&& exception) {
  // Without a reaper no exit would ever be told: that is worse than a restart by a successor.
  KJ_LOG(FATAL, "the reaper failed", exception);
  abort();
}

}  // namespace belay::shim
