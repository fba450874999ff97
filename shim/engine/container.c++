// Making a container, as its parent sees it.
#include "shim/engine/container.h"

#include <errno.h>
#include <kj/debug.h>
#include <signal.h>

#include "shim/engine/container-child.h"
#include "shim/engine/report.h"
#include "shim/engine/seccomp-listener.h"
#include "shim/sys/clone.h"
#include "shim/sys/pidfd.h"

namespace belay::shim {
namespace {

constexpr kj::StringPtr STEP = "prepare the container"_kj;

kj::OneOf<Prepared, FailureValue> diedEarly() {
  return plainFailure(Failure::Code::INTERNAL, STEP, "",
                      "the process that sets it up was killed (out of memory, or by hand)");
}

}  // namespace

void checkStdio(const ChildStdio& stdio) {
  if (stdio.terminal) return;
  // The children shuffle them to 0, 1 and 2.
  KJ_REQUIRE(stdio.in.get() > 2 && stdio.out.get() > 2 && stdio.err.get() > 2,
             "A child's standard streams must be open, above 2.");
}

MadeChild takeMade(ReportReceiver::Message& message, pid_t stageA) {
  auto& report = message.report;
  size_t expected = 1 + (report.withTerminal ? 1 : 0) + (report.withConnection ? 1 : 0);
  KJ_REQUIRE(message.sender == stageA && message.fds.size() == expected,
             "A set-up child sent a forged message, or its descriptors got lost.");
  MadeChild made;
  made.pid = report.pid;
  made.user = {report.uid, report.gid, kj::heapArray(report.groups, report.groupCount)};
  made.pidfd = kj::mv(message.fds[0]);
  if (report.withTerminal) made.ptyMaster = kj::mv(message.fds[1]);
  if (report.withConnection) made.connection = kj::mv(message.fds[expected - 1]);
  return made;
}

kj::Promise<kj::OneOf<Prepared, FailureValue>> prepareContainer(EngineContext& context,
                                                                ContainerSpec::Reader spec,
                                                                const PodNamespaces& namespaces,
                                                                const Cgroup& cgroup,
                                                                ChildStdio stdio, int targetPidfd) {
  checkStdio(stdio);
  if (auto fault = ProcessPlan::findFault(spec.getProcess())) {
    co_return plainFailure(Failure::Code::INVALID_ARGUMENT, STEP, "", fault);
  }
  auto pids = planPids(spec.getPid(), {namespaces.pid, namespaces.pidIsHosts, targetPidfd});
  if (pids.is<FailureValue>()) co_return kj::mv(pids.get<FailureValue>());
  ListenerHandover handover(spec.getProcess(), ListenerHandover::Status::CREATING);
  auto sockets = newReportSockets();
  KilledOnDrop stageA;
  pid_t stageAPid;
  {
    ContainerPlan plan = {
        .spec = spec,
        .process = ProcessPlan(spec.getProcess()),
        .mounts = RootfsMounts(spec, context.cgroups, pids.get<PidPlan>(), namespaces.ipc.get() < 0,
                               namespaces.users()),
        .joining = cgroup.joining(),
        .namespaces = namespaces,
        .stdio = stdio,
        .podDirFd = context.podDirFd,
        .pids = pids.get<PidPlan>(),
    };
    int pidfd = -1;
    stageAPid = sys::cloneProcess({.cgroupFd = plan.joining.unified}, pidfd);
    // EAGAIN when the cgroup may have no more processes.
    if (stageAPid < 0) co_return systemFailure(STEP, cgroup.getPath(), errno);
    if (stageAPid == 0) runContainerChild(plan, sockets.theirs);
    stageA.pidfd = kj::AutoCloseFd(pidfd);
  }
  sockets.theirs = nullptr;
  // The child has its copies, and the end of a stream is told by the last one.
  stdio = ChildStdio();

  Prepared prepared;
  KilledOnDrop stageB;
  {
    ReportReceiver receiver(context.eventPort, sockets.ours);
    bool made = false;
    bool ready = false;
    // Stage B may be ready before stage A has told of it.
    while (!made || !ready) {
      auto next = co_await receiver.next();
      if (next.is<ReportReceiver::End>()) co_return diedEarly();
      auto& message = *next.get<kj::Own<ReportReceiver::Message>>();
      switch (message.report.kind) {
        case Report::Kind::FAILED:
          co_return failureOf(message.report);
        case Report::Kind::MADE: {
          auto child = takeMade(message, stageAPid);
          made = true;
          prepared.pid = child.pid;
          prepared.user = kj::mv(child.user);
          prepared.ptyMaster = kj::mv(child.ptyMaster);
          stageB.pidfd = kj::mv(child.pidfd);
          handover.connected(kj::mv(child.connection));
          break;
        }
        case Report::Kind::LISTENER:
          handover.loaded(message.report.listener);
          break;
        case Report::Kind::READY:
          ready = true;
          break;
        default:
          KJ_FAIL_REQUIRE("A set-up child sent an unexpected message.");
      }
      if (!handover.isDue()) continue;
      auto failure = handover.handOver({prepared.pid, stageB.pidfd, prepared.pid, sockets.ours});
      KJ_IF_MAYBE (reason, failure) {
        co_return kj::mv(*reason);
      }
    }
  }
  stageA.pidfd = nullptr;
  prepared.pidfd = kj::mv(stageB.pidfd);
  prepared.gate = kj::mv(sockets.ours);
  co_return kj::mv(prepared);
}

kj::Promise<kj::Maybe<FailureValue>> releaseGate(EngineContext& context, Prepared& prepared) {
  // A child that is gone has closed its end, which is all that counts below.
  openGate(prepared.gate);
  ReportReceiver receiver(context.eventPort, prepared.gate);
  auto next = co_await receiver.next();
  if (next.is<ReportReceiver::End>()) co_return nullptr;
  auto& report = next.get<kj::Own<ReportReceiver::Message>>()->report;
  KJ_REQUIRE(report.kind == Report::Kind::FAILED,
             "A child at its gate sent an unexpected message.");
  co_return failureOf(report);
}

}  // namespace belay::shim
