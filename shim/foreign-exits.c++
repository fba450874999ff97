// Implementation of foreign-exits.h.
#include "shim/foreign-exits.h"

#include <sys/wait.h>

#include "shim/sys/clock.h"
#include "shim/sys/pidfd.h"

namespace belay::shim {
namespace {

constexpr int UNKNOWN_CODE = 255;

ExitStatus fromWaitStatus(int status) {
  if (WIFEXITED(status)) return {WEXITSTATUS(status), 0, realtimeNs()};
  return {128 + WTERMSIG(status), WTERMSIG(status), realtimeNs()};
}

}  // namespace

kj::Promise<ExitStatus> ForeignExits::onExit(pid_t pid, int pidfd) {
  auto word = kj::newPromiseAndFulfiller<void>();
  auto heard = word.promise.fork();
  waiting.upsert(pid, kj::mv(word.fulfiller));
  KJ_DEFER(waiting.erase(pid));
  if (pidfd >= 0) {
    kj::UnixEventPort::FdObserver observer(port, pidfd,
                                           kj::UnixEventPort::FdObserver::OBSERVE_READ);
    bool late = false;
    kj::Maybe<kj::ForkedPromise<void>> patience;
    while (known.find(pid) == nullptr && !late) {
      // It becomes readable at the exit, and again when it has been reaped.
      auto change = observer.whenBecomesReadable().exclusiveJoin(heard.addBranch());
      int status;
      if (sys::exitOf(pidfd, status) == 0) co_return fromWaitStatus(status);
      if (patience == nullptr && sys::hasExited(pidfd)) {
        patience = timer.afterDelay(TELL_PATIENCE).then([&late]() { late = true; }).fork();
      }
      KJ_IF_MAYBE (end, patience) {
        co_await change.exclusiveJoin(end->addBranch());
      } else {
        co_await change;
      }
    }
  }
  KJ_IF_MAYBE (status, known.find(pid)) {
    ExitStatus result = *status;
    known.erase(pid);
    co_return result;
  }
  co_return ExitStatus{
      .code = UNKNOWN_CODE, .signal = 0, .finishedAtNs = realtimeNs(), .known = false};
}

void ForeignExits::told(pid_t pid, ExitStatus status) {
  if (known.size() < MAX_TOLD) known.upsert(pid, status, [](ExitStatus&, ExitStatus&&) {});
  KJ_IF_MAYBE (waiter, waiting.find(pid)) (*waiter)->fulfill();
}

}  // namespace belay::shim
