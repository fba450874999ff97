// Implementation of pod-container.h: commands that run in the container, and clients of its
// streams.
#include "shim/exec-cgroup.h"
#include "shim/failure.h"
#include "shim/pod-container.h"

namespace belay::shim {

kj::Promise<kj::OneOf<ExecSyncResult, FailureValue>> PodContainer::execSync(
    ProcessSpec::Reader process, ExecSyncLimits limits) {
  KJ_IF_MAYBE (failure, refuseUnlessRunning("run a command in container")) {
    kj::OneOf<ExecSyncResult, FailureValue> answer;
    answer.init<FailureValue>(kj::mv(*failure));
    return answer;
  }
  return shim::execSync(context, process, enterTarget(), makeExecCgroup(), limits, tasks);
}

EnterTarget PodContainer::enterTarget() {
  return {KJ_ASSERT_NONNULL(prepared).pidfd, host.namespaces().ids};
}

kj::Own<Cgroup> PodContainer::makeExecCgroup() {
  return cgroup->createChild(kj::str(EXEC_CGROUP_PREFIX, host.generation(), '-', nextExec++));
}

kj::OneOf<kj::AutoCloseFd, FailureValue> PodContainer::exec(ProcessSpec::Reader process,
                                                            StreamChoice choice) {
  constexpr auto STEP = "run a command in container"_kj;
  kj::OneOf<kj::AutoCloseFd, FailureValue> answer;
  KJ_IF_MAYBE (failure, refuseUnlessRunning(STEP)) {
    answer.init<FailureValue>(kj::mv(*failure));
    return answer;
  }
  if (process.getTerminal() && choice.err) {
    answer.init<FailureValue>(
        plainFailure(Failure::Code::INVALID_ARGUMENT, STEP, id,
                     "a process with a terminal has no standard error of its own"));
    return answer;
  }
  auto sockets = makePacketPair();
  serveExec(kj::mv(sockets.ours), process, choice);
  answer.init<kj::AutoCloseFd>(kj::mv(sockets.theirs));
  return answer;
}

kj::OneOf<kj::AutoCloseFd, FailureValue> PodContainer::attach(StreamChoice choice) {
  kj::OneOf<kj::AutoCloseFd, FailureValue> answer;
  KJ_IF_MAYBE (failure, refuseAttach(choice)) {
    answer.init<FailureValue>(kj::mv(*failure));
    return answer;
  }
  auto sockets = makePacketPair();
  serveAttach(kj::mv(sockets.ours), choice);
  answer.init<kj::AutoCloseFd>(kj::mv(sockets.theirs));
  return answer;
}

void PodContainer::serveExec(kj::AutoCloseFd socket, ProcessSpec::Reader process,
                             StreamChoice choice) {
  keepSession(shim::serveExec(context, kj::mv(socket), process, choice,
                              {id, enterTarget(), makeExecCgroup()}, tasks));
}

void PodContainer::serveAttach(kj::AutoCloseFd socket, StreamChoice choice) {
  keepSession(shim::serveAttach(context, kj::mv(socket), choice, *this));
}

void PodContainer::keepSession(kj::Promise<void> session) {
  host.keepSession(session.attach(kj::addRef(*this)));
}

kj::Maybe<FailureValue> PodContainer::refuseAttach(StreamChoice choice) const {
  constexpr auto STEP = "attach to container"_kj;
  KJ_IF_MAYBE (failure, refuseUnlessRunning(STEP)) return kj::mv(*failure);
  if (choice.in && !stdio->hasInput()) {
    return plainFailure(Failure::Code::INVALID_ARGUMENT, STEP, id, "it was made without stdin");
  }
  if (choice.in && stdio->inputHasEnded()) {
    return plainFailure(Failure::Code::FAILED_PRECONDITION, STEP, id,
                        "its stdin was closed when its first client had gone (stdin_once)");
  }
  if (choice.err && stdio->hasTerminal()) {
    return plainFailure(Failure::Code::INVALID_ARGUMENT, STEP, id,
                        "it has a terminal, where stderr is part of stdout");
  }
  return nullptr;
}

void PodContainer::attachedInputEnded() {
  if (stdio.get() != nullptr && stdio->clientInputEnded()) {
    host.descriptorReleased(*this, "stdin"_kj);
  }
}

}  // namespace belay::shim
