// Entering a running container, as the parent sees it.
#include "shim/engine/enter.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>

#include "shim/engine/container-child.h"
#include "shim/engine/enter-child.h"
#include "shim/engine/report.h"
#include "shim/engine/seccomp-listener.h"
#include "shim/sys/clone.h"
#include "shim/sys/pidfd.h"

namespace belay::shim {
namespace {

constexpr kj::StringPtr STEP = "enter the container"_kj;

// The first process of a pid namespace waits for the others, which its end kills.
constexpr kj::Duration END_LIMIT = 1 * kj::SECONDS;

// Why there is no process: the container's end took it along, or somebody killed it.
kj::Promise<FailureValue> killedFailure(EngineContext& context, int targetPidfd) {
  int copy;
  KJ_SYSCALL(copy = fcntl(targetPidfd, F_DUPFD_CLOEXEC, 3));
  kj::AutoCloseFd own(copy);
  kj::UnixEventPort::FdObserver end(context.eventPort, own,
                                    kj::UnixEventPort::FdObserver::OBSERVE_READ);
  bool ended = false;
  co_await end.whenBecomesReadable()
      .then([&]() { ended = true; })
      .exclusiveJoin(context.timer.afterDelay(END_LIMIT));
  if (ended) {
    co_return plainFailure(Failure::Code::FAILED_PRECONDITION, STEP, "",
                           "it ended while it was being entered");
  }
  co_return plainFailure(Failure::Code::INTERNAL, STEP, "",
                         "the process that enters it was killed (out of memory, or by hand)");
}

}  // namespace

kj::Promise<kj::OneOf<Entered, FailureValue>> enterContainer(EngineContext& context,
                                                             ProcessSpec::Reader process,
                                                             EnterTarget target,
                                                             const Cgroup& cgroup,
                                                             ChildStdio stdio) {
  if (!process.getTerminal()) checkStdio(stdio);
  if (auto fault = ProcessPlan::findFault(process)) {
    co_return plainFailure(Failure::Code::INVALID_ARGUMENT, STEP, "", fault);
  }
  ListenerHandover handover(process, ListenerHandover::Status::RUNNING);
  pid_t firstPid = hasListener(process) ? sys::pidOf(target.pidfd) : 0;
  auto sockets = newReportSockets();
  KilledOnDrop stageA;
  pid_t stageAPid;
  {
    EnterPlan plan = {
        .process = ProcessPlan(process),
        .joining = cgroup.joining(),
        .stdio = stdio,
        .target = target,
    };
    int pidfd = -1;
    stageAPid = sys::cloneProcess({.cgroupFd = plan.joining.unified}, pidfd);
    // EAGAIN when the cgroup may have no more processes.
    if (stageAPid < 0) co_return systemFailure(STEP, cgroup.getPath(), errno);
    if (stageAPid == 0) runEnterChild(plan, sockets.theirs);
    stageA.pidfd = kj::AutoCloseFd(pidfd);
  }
  sockets.theirs = nullptr;
  // The child has its copies, and the end of a stream is told by the last one.
  stdio = ChildStdio();

  Entered entered;
  KilledOnDrop stageB;
  ReportReceiver receiver(context.eventPort, sockets.ours);
  // Ends with the sockets: stage A's closes when it exits, stage B's with execve.
  for (;;) {
    auto next = co_await receiver.next();
    if (next.is<ReportReceiver::End>()) break;
    auto& message = *next.get<kj::Own<ReportReceiver::Message>>();
    if (message.report.kind == Report::Kind::FAILED) co_return failureOf(message.report);
    if (message.report.kind == Report::Kind::LISTENER) {
      handover.loaded(message.report.listener);
    } else {
      KJ_REQUIRE(message.report.kind == Report::Kind::MADE,
                 "A child that enters a container sent an unexpected message.");
      auto child = takeMade(message, stageAPid);
      entered.pid = child.pid;
      entered.user = kj::mv(child.user);
      entered.ptyMaster = kj::mv(child.ptyMaster);
      stageB.pidfd = kj::mv(child.pidfd);
      handover.connected(kj::mv(child.connection));
    }
    if (!handover.isDue()) continue;
    auto failure = handover.handOver({entered.pid, stageB.pidfd, firstPid, sockets.ours});
    KJ_IF_MAYBE (reason, failure) {
      co_return kj::mv(*reason);
    }
  }
  stageA.pidfd = nullptr;
  if (stageB.pidfd == nullptr) co_return co_await killedFailure(context, target.pidfd);
  entered.pidfd = kj::mv(stageB.pidfd);
  co_return kj::mv(entered);
}

}  // namespace belay::shim
