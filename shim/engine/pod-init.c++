// The first process of the pid namespace that a pod's containers share.
#include "shim/engine/pod-init.h"

#include <errno.h>
#include <kj/debug.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim/engine/pod-init-child.h"
#include "shim/engine/report.h"
#include "shim/sys/clone.h"
#include "shim/sys/fds.h"

namespace belay::shim {
namespace {

constexpr kj::StringPtr STEP = "make the pod's first process"_kj;

// pod-init-program.c, compiled and linked: a whole ELF file.
constexpr unsigned char PROGRAM[] = {
#include "shim/engine/pod-init-program.inc"
};

}  // namespace

kj::AutoCloseFd newIdleProgram() {
  int fd;
  KJ_SYSCALL(fd = sys::newExecutableMemoryFile("pod-init"));
  kj::AutoCloseFd file(fd);
  kj::FdOutputStream(file.get()).write(PROGRAM, sizeof(PROGRAM));
  // Who executes what it may not read is never dumpable (execve(2)), so that only CAP_SYS_PTRACE
  // looks into the process, from its very beginning.
  KJ_SYSCALL(fchmod(file, 0111));
  KJ_SYSCALL(sys::sealMemoryFile(file));
  return file;
}

kj::Promise<kj::OneOf<PodInit, FailureValue>> startPodInit(EngineContext& context,
                                                           const PodNamespaces& namespaces,
                                                           const Cgroup& cgroup) {
  auto sockets = newReportSockets();
  auto program = newIdleProgram();
  KilledOnDrop stageA;
  {
    PodInitPlan plan = {cgroup.joining(), namespaces, context.podDirFd, program};
    int pidfd = -1;
    pid_t pid = sys::cloneProcess({.cgroupFd = plan.joining.unified}, pidfd);
    if (pid < 0) co_return systemFailure(STEP, cgroup.getPath(), errno);
    if (pid == 0) runPodInitChild(plan, sockets.theirs);
    stageA.pidfd = kj::AutoCloseFd(pidfd);
  }
  sockets.theirs = nullptr;

  PodInit init;
  KilledOnDrop stageB;
  ReportReceiver receiver(context.eventPort, sockets.ours);
  for (;;) {
    auto next = co_await receiver.next();
    if (next.is<ReportReceiver::End>()) break;
    auto& message = *next.get<kj::Own<ReportReceiver::Message>>();
    if (message.report.kind == Report::Kind::FAILED) co_return failureOf(message.report);
    KJ_REQUIRE(message.fds.size() == 1, "A descriptor got lost.");
    if (message.report.kind == Report::Kind::READY) {
      init.proc = kj::mv(message.fds[0]);
    } else {
      init.pid = message.report.pid;
      stageB.pidfd = kj::mv(message.fds[0]);
    }
  }
  stageA.pidfd = nullptr;
  // A child that could not execve has no more to tell with: its filter is in force.
  struct pollfd dead = {stageB.pidfd, POLLIN, 0};
  if (stageB.pidfd == nullptr || poll(&dead, 1, 0) != 0) {
    co_return plainFailure(Failure::Code::INTERNAL, STEP, "", "it died before or in execve");
  }
  init.pidfd = kj::mv(stageB.pidfd);
  co_return kj::mv(init);
}

kj::Promise<void> removePodInit(EngineContext& context, kj::Own<Cgroup> cgroup) {
  cgroup->kill();
  co_await cgroup->whenEmpty(context);
  cgroup->remove();
}

}  // namespace belay::shim
