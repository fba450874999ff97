// Implementation of upgrade.h.
#include "shim/upgrade.h"

#include <capnp/serialize.h>
#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "failpoint/failpoint.h"
#include "shim/engine/namespaces.h"
#include "shim/failure.h"
#include "shim/record.h"
#include "shim/stdio/descriptors.h"
#include "shim/stdio/log-position.h"
#include "shim/sys/clone.h"
#include "shim/sys/fds.h"
#include "shim/sys/pidfd.h"

namespace belay::shim {
namespace {

constexpr kj::StringPtr STEP = "replace the shim of pod"_kj;

// It opens some files on tmpfs.
constexpr kj::Duration CHECK_LIMIT = 10 * kj::SECONDS;

// What a program may say about why it does not fit.
constexpr size_t MAX_REASON = 512;

void setCloseOnExec(int fd, bool value) {
  KJ_SYSCALL(fcntl(fd, F_SETFD, value ? FD_CLOEXEC : 0), fd);
}

// Of a handover, each once.
template <typename Each>
void forEachDescriptor(Handover::Reader handover, Each&& each) {
  auto visit = [&](int fd) {
    if (fd >= 0) each(fd);
  };
  visit(handover.getLock());
  visit(handover.getListener());
  for (auto descriptor : handover.getDescriptors())
    visit(descriptor.getNumber());
  for (auto session : handover.getSessions()) {
    visit(session.getSocket());
    if (session.isExec()) visit(session.getExec().getPtyMaster());
    if (session.isAttach()) {
      visit(session.getAttach().getInput());
      visit(session.getAttach().getOutput());
      visit(session.getAttach().getErrors());
    }
  }
}

// The words of a program in its place: "belay-shim MODE... --pod-dir /proc/self/cwd ...".
struct Words {
  explicit Words(kj::ArrayPtr<const kj::String> words) {
    for (auto& word : words)
      pointers.add(const_cast<char*>(word.cStr()));
    pointers.add(nullptr);
  }
  kj::Vector<char*> pointers;
};

}  // namespace

kj::Promise<FailureValue> Upgrade::run(kj::AutoCloseFd program, kj::Duration limit) {
  if (running || !pod.isCreated()) {
    co_return plainFailure(Failure::Code::FAILED_PRECONDITION, STEP, pod.getId(),
                           running ? "it is being replaced"_kj : "it has no pod"_kj);
  }
  running = true;
  KJ_DEFER(running = false);
  auto unfit = co_await check(program);
  KJ_IF_MAYBE (failure, unfit) co_return kj::mv(*failure);
  CO_FAILPOINT(context.engine.timer, "shim.upgrade/after-check");
  KJ_DEFER(context.disk.release());
  auto late = co_await whenQuiet(limit);
  KJ_IF_MAYBE (failure, late) co_return kj::mv(*failure);
  FAILPOINT("shim.upgrade/before-execution");
  co_return execute(program);
}

// The program says itself, in a child, whether it can go on from here. What changes until then
// changes nothing of that.
kj::Promise<kj::Maybe<FailureValue>> Upgrade::check(int program) {
  auto handover = describe().file;
  auto pipe = makePipe();
  setNonBlocking(pipe.readEnd);
  auto number = kj::str(handover.get());
  kj::String words[] = {kj::str("belay-shim"), kj::str("--pod-dir"), kj::str(podDirectory),
                        kj::str("--id"),       kj::str(pod.getId()), kj::str("--check-handover"),
                        kj::mv(number)};
  Words argv(words);
  char* environment[] = {nullptr};
  auto hold = kj::heap<Reaper::Hold>(context.reaper);
  int rawPidfd = -1;
  pid_t pid = sys::cloneProcess({}, rawPidfd);
  if (pid < 0) co_return systemFailure(STEP, pod.getId(), errno);
  if (pid == 0) {
    int keep[] = {STDIN_FILENO, STDERR_FILENO, pipe.writeEnd.get(), handover.get(), program};
    sys::closeAllBut(keep, kj::size(keep));
    dup2(pipe.writeEnd, STDOUT_FILENO);
    fcntl(handover, F_SETFD, 0);
    execveat(program, "", argv.pointers.begin(), environment, AT_EMPTY_PATH);
    dprintf(STDOUT_FILENO, "it cannot be executed: %s", strerror(errno));
    _exit(1);
  }
  kj::AutoCloseFd pidfd(rawPidfd);
  auto exit = context.reaper.onExit(pid);
  hold = nullptr;
  pipe.writeEnd = nullptr;
  kj::Maybe<ExitStatus> status;
  co_await exit.then([&](ExitStatus ended) { status = ended; })
      .exclusiveJoin(context.engine.timer.afterDelay(CHECK_LIMIT));
  KJ_IF_MAYBE (ended, status) {
    if (ended->succeeded()) co_return nullptr;
    char reason[MAX_REASON];
    ssize_t size = read(pipe.readEnd, reason, sizeof(reason));
    auto said = size > 0 ? kj::heapString(reason, size)
                         : kj::str("the new program ended with code ", ended->code);
    co_return plainFailure(Failure::Code::FAILED_PRECONDITION, STEP, pod.getId(), said);
  }
  sys::sendSignal(pidfd, SIGKILL);
  co_return plainFailure(Failure::Code::DEADLINE_EXCEEDED, STEP, pod.getId(),
                         "the new program does not say whether it can go on");
}

// No work is under way and no byte on its way to a log, at one moment.
kj::Promise<kj::Maybe<FailureValue>> Upgrade::whenQuiet(kj::Duration limit) {
  bool late = false;
  auto deadline = context.engine.timer.afterDelay(limit).then([&late]() { late = true; }).fork();
  while (!late) {
    co_await context.work.whenNone().exclusiveJoin(deadline.addBranch());
    if (late) break;
    co_await context.disk.hold().exclusiveJoin(deadline.addBranch());
    if (!late && context.work.none()) co_return nullptr;
    context.disk.release();
  }
  co_return plainFailure(
      Failure::Code::DEADLINE_EXCEEDED, STEP, pod.getId(),
      context.work.none() ? "a write to a log does not end"_kj
                          : "something is under way in it: a command, or a container's creation, "
                            "start, end or removal"_kj);
}

Upgrade::Described Upgrade::describe() {
  capnp::MallocMessageBuilder message;
  auto handover = message.initRoot<Handover>();
  pod.handOver(handover);
  handover.setLock(lock);
  handover.setListener(connections.listenerFd());
  Described result;
  forEachDescriptor(handover.asReader(), [&](int fd) { result.named.add(fd); });
  kj::AutoCloseFd file(sys::newMemoryFile("belay-handover"));
  if (file.get() < 0) KJ_FAIL_SYSCALL("memfd_create", errno);
  capnp::writeMessageToFd(file, message);
  KJ_SYSCALL(lseek(file, 0, SEEK_SET));
  result.file = kj::mv(file);
  return result;
}

FailureValue Upgrade::execute(int program) {
  auto described = describe();
  auto& handover = described.file;
  auto kept = kj::mv(described.named);
  kept.add(handover.get());
  for (int fd : kept)
    setCloseOnExec(fd, false);
  kj::String words[] = {kj::str("belay-shim"),  kj::str("--pod-dir"), kj::str(podDirectory),
                        kj::str("--id"),        kj::str(pod.getId()), kj::str("--resume"),
                        kj::str(handover.get())};
  Words argv(words);
  char* environment[] = {nullptr};
  execveat(program, "", argv.pointers.begin(), environment, AT_EMPTY_PATH);
  auto failure = systemFailure(STEP, pod.getId(), errno, "execveat");
  for (int fd : kept)
    setCloseOnExec(fd, true);
  return failure;
}

ReceivedHandover::ReceivedHandover(int number) : number(number), message(kj::AutoCloseFd(number)) {
  setCloseOnExec(number, true);
  forEachDescriptor(get(), [](int fd) { setCloseOnExec(fd, true); });
}

kj::Vector<int> ReceivedHandover::descriptors() {
  kj::Vector<int> result;
  result.add(number);
  forEachDescriptor(get(), [&](int fd) { result.add(fd); });
  return result;
}

kj::Maybe<kj::String> findHandoverFault(int podDirFd, kj::StringPtr podId,
                                        Handover::Reader handover) {
  if (handover.getProtocolVersion() > PROTOCOL_VERSION) {
    return kj::str("the running shim is newer, of protocol version ", handover.getProtocolVersion(),
                   "; the new program's is ", PROTOCOL_VERSION);
  }
  auto message = readRecord(podDirFd, Pod::STATE_FILE);
  KJ_IF_MAYBE (reader, message) {
    auto record = (*reader)->getRoot<ShimRecord>();
    if (record.getSpec().getId() != podId) return kj::str("the record is not that of pod ", podId);
    for (auto container : record.getPod().getContainers()) {
      if (PodContainer::readSpec(podDirFd, container.getId()) == nullptr) {
        return kj::str("container ", container.getId(), " has no spec");
      }
      if (container.getStage() == Stage::EXITED) continue;
      KJ_IF_MAYBE (fault, PodContainer::findStreamFault(podDirFd, container.getId())) {
        return kj::str("container ", container.getId(), ": ", *fault);
      }
    }
    return nullptr;
  }
  return kj::str("the pod has no record");
}

}  // namespace belay::shim
