// Implementation of pod-container.h: what a container's life begins with in a shim that has taken
// the pod over from another one.
#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/exec-cgroup.h"
#include "shim/pidfd-pin.h"
#include "shim/pod-container.h"
#include "shim/record.h"
#include "shim/sys/pidfd.h"

namespace belay::shim {
namespace {

// Null if it is not there.
kj::AutoCloseFd openFolder(int podDirFd, kj::StringPtr id) {
  int fd;
  KJ_SYSCALL_HANDLE_ERRORS(fd = openat(podDirFd, id.cStr(), O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)) {
    case ENOENT:
      return nullptr;
    default:
      KJ_FAIL_SYSCALL("openat", error, id);
  }
  return kj::AutoCloseFd(fd);
}

UserIds readUser(ResolvedUser::Reader user) {
  UserIds ids{.uid = user.getUid(), .gid = user.getGid()};
  ids.groups = KJ_MAP(group, user.getGroups())->gid_t {
    return group;
  };
  return ids;
}

// Whether the child behind the gate has passed execve, failed at it, or died: while it waits it
// says nothing and keeps its end open.
bool isDecided(int gate) {
  char byte;
  return recv(gate, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN;
}

}  // namespace

kj::Maybe<kj::Own<capnp::MessageReader>> PodContainer::readSpec(int podDirFd, kj::StringPtr id) {
  auto directory = openFolder(podDirFd, id);
  if (directory.get() < 0) return nullptr;
  return readRecord(directory, SPEC_FILE);
}

kj::Maybe<kj::StringPtr> PodContainer::findStreamFault(int podDirFd, kj::StringPtr id) {
  auto directory = openFolder(podDirFd, id);
  if (directory.get() < 0) return "it has no folder"_kj;
  return ContainerStdio::findFault(directory);
}

kj::Promise<void> PodContainer::restore(ContainerSpec::Reader spec, ContainerState::Reader state,
                                        Inheritance& inheritance) {
  openDirectory();
  cgroup = Cgroup::open(context.engine.cgroups, cgroupPath);
  stage = state.getStage();
  createdAtNs = state.getCreatedAtNs();
  startedAtNs = state.getStartedAtNs();
  stopSignalsSent = state.getStopSignalsSent();
  user = readUser(state.getUser());
  if (stage == Stage::EXITED) {
    readExit(state.getExit());
    exitedFulfiller->fulfill();
    co_return;
  }

  Prepared child{.pid = state.getPid()};
  child.pidfd = openProcess(child.pid, inheritance);
  child.gate = inheritance.take(id, "gate");
  auto& process = prepared.emplace(kj::mv(child));
  alive = true;
  // Before anything is waited for: the process may be over already.
  auto death = onExitOf(process);
  stdio = ContainerStdio::takeOver(context.engine.eventPort, context.engine.timer, context.disk,
                                   dirFd, stdioOptions(spec));
  ContainerStdio::Inherited streams{.in = inheritance.take(id, "stdin"),
                                    .out = inheritance.take(id, "stdout"),
                                    .err = inheritance.take(id, "stderr"),
                                    .pty = inheritance.take(id, "pty")};
  co_await stdio->resume(kj::mv(streams));
  for (auto& exec : cgroup->children(EXEC_CGROUP_PREFIX))
    tasks.add(removeWhenEmpty(context, kj::mv(exec)));
  if (stage == Stage::CREATED) resumeStart();
  tasks.add(watchExit(kj::mv(death)));
}

void PodContainer::readExit(Exit::Reader record) {
  exit.status = {.code = record.getCode(),
                 .signal = record.getSignal(),
                 .finishedAtNs = record.getFinishedAtNs(),
                 .known = record.getKnown()};
  exit.oomKilled = record.getOomKilled();
  exit.reason = kj::str(record.getReason());
  exit.message = kj::str(record.getMessage());
}

// What the predecessor or the supervisor held, else what is pinned, else the process of that number
// if it is in the container's cgroup. Null if it is gone without a trace.
kj::AutoCloseFd PodContainer::openProcess(pid_t pid, Inheritance& inheritance) {
  auto held = inheritance.take(id, "pidfd");
  if (held.get() >= 0) return held;
  auto pinned = openPinnedPidfd(dirFd, PIDFD_FILE);
  if (pinned.get() >= 0) return pinned;
  kj::AutoCloseFd opened(syscall(SYS_pidfd_open, pid, 0));
  if (opened.get() < 0) return nullptr;
  // After it was opened: the number cannot change hands now.
  for (auto member : cgroup->pids()) {
    if (member == pid) return opened;
  }
  return nullptr;
}

kj::Promise<ExitStatus> PodContainer::onExitOf(const Prepared& child) {
  if (context.reaper.knows(child.pid)) return context.reaper.onExit(child.pid);
  return context.foreignExits.onExit(child.pid, child.pidfd);
}

// For a container that was not known to run: the predecessor may have died at any step of starting
// it. A child whose gate nobody held has ended without ever running.
void PodContainer::resumeStart() {
  auto& child = KJ_ASSERT_NONNULL(prepared);
  if (child.gate.get() >= 0) {
    if (isDecided(child.gate)) beginStart();
  } else if (child.pidfd.get() < 0 || sys::hasExited(child.pidfd)) {
    startFailure = plainFailure(Failure::Code::INTERNAL, "start container", id,
                                "its shim died before it was started, and belayd with it");
  } else {
    stage = Stage::RUNNING;
    startedAtNs = createdAtNs;
  }
}

void PodContainer::resumeSession(Handover::Session::Reader state) {
  kj::AutoCloseFd socket(state.getSocket());
  if (stdio.get() == nullptr) return;  // it has exited, and its clients have been told
  auto choice = readChoice(state);
  switch (state.which()) {
    case Handover::Session::EXEC_WAITING:
      serveExec(kj::mv(socket), state.getExecWaiting(), choice);
      break;
    case Handover::Session::EXEC: {
      auto exec = state.getExec();
      keepSession(resumeExec(context, kj::mv(socket), kj::str(id), exec.getPid(),
                             kj::AutoCloseFd(exec.getPtyMaster())));
      break;
    }
    case Handover::Session::ATTACH_WAITING:
      serveAttach(kj::mv(socket), choice);
      break;
    case Handover::Session::ATTACH: {
      auto attach = state.getAttach();
      keepSession(resumeAttach(context, kj::mv(socket), choice, *this,
                               {.input = kj::AutoCloseFd(attach.getInput()),
                                .output = kj::AutoCloseFd(attach.getOutput()),
                                .errors = kj::AutoCloseFd(attach.getErrors())}));
      break;
    }
    case Handover::Session::PORT_FORWARD:
      break;  // the pod's
  }
}

void PodContainer::claimLeftover() {
  openDirectory();
  if (cgroupPath.size() > 0) cgroup = Cgroup::open(context.engine.cgroups, cgroupPath);
}

}  // namespace belay::shim
