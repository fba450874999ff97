// Implementation of container-server.h: translates calls, and failures into values.
#include "shim/container-server.h"

#include "shim/failure.h"
#include "shim/file-server.h"
#include "shim/session-answer.h"

namespace belay::shim {
namespace {

// No answer may hold more, whatever the caller asks for: the memory is the shim's own.
constexpr uint64_t MAX_EXEC_BYTES = 64 << 20;

// 24 days: more is no real grace or time-out, and must not overflow the clock.
constexpr uint64_t MAX_MILLISECONDS = 1ull << 31;

kj::Duration fromMilliseconds(uint64_t milliseconds) {
  return kj::min(milliseconds, MAX_MILLISECONDS) * kj::MILLISECONDS;
}

}  // namespace

ContainerServer::ContainerServer(ShimContext& context, Pod& pod, kj::Own<PodContainer> container)
    : shimContext(context), pod(pod), container(kj::mv(container)) {}

kj::Promise<void> ContainerServer::state(StateContext context) {
  container->fillState(context.getResults().initState());
  co_return;
}

kj::Promise<void> ContainerServer::start(StartContext context) {
  Work work(shimContext.work);
  auto failure = refuseIfRemoved("start container"_kj);
  if (failure == nullptr) {
    failure = co_await asFailure(container->start(), "start container"_kj, container->getId());
  }
  writeOutcome(failure, context.getResults().initOutcome());
}

kj::Promise<void> ContainerServer::stop(StopContext context) {
  auto params = context.getParams();
  auto failure = refuseIfRemoved("stop container"_kj);
  if (failure == nullptr) {
    auto stopped = container->stop(params.getSignal(), fromMilliseconds(params.getGraceMs()));
    failure = co_await asFailure(kj::mv(stopped), "stop container"_kj, container->getId());
  }
  writeOutcome(failure, context.getResults().initOutcome());
}

kj::Promise<void> ContainerServer::wait(WaitContext context) {
  co_await container->whenExited();
  container->fillExit(context.getResults().initExit());
}

kj::Promise<void> ContainerServer::execSync(ExecSyncContext context) {
  Work work(shimContext.work);
  auto params = context.getParams();
  ExecSyncLimits limits{.maxBytes = kj::min(params.getMaxBytes(), MAX_EXEC_BYTES)};
  if (params.getTimeoutMs() > 0) limits.timeout = fromMilliseconds(params.getTimeoutMs());

  using Answer = kj::OneOf<ExecSyncResult, FailureValue>;
  auto answer = co_await kj::evalNow([&]() {
                  return container->execSync(params.getProcess(), limits);
                }).catch_([this](kj::Exception&& exception) {
    Answer failed;
    failed.init<FailureValue>(
        failureOf("run a command in container"_kj, container->getId(), exception));
    return failed;
  });
  auto results = context.getResults();
  KJ_SWITCH_ONEOF(answer) {
    KJ_CASE_ONEOF(result, ExecSyncResult) {
      results.initOutcome().setDone();
      results.setExitCode(result.exitCode);
      results.setTimedOut(result.timedOut);
      results.setStdout(kj::heap<FileServer>(kj::mv(result.out)));
      results.setStderr(kj::heap<FileServer>(kj::mv(result.err)));
    }
    KJ_CASE_ONEOF(failure, FailureValue) {
      writeFailure(failure, results.initOutcome().initFailed());
    }
  }
}

kj::Promise<void> ContainerServer::exec(ExecContext context) {
  auto params = context.getParams();
  StreamChoice choice{params.getStdin(), params.getStdout(), params.getStderr()};
  auto results = context.getResults();
  answerWithSession([&]() { return container->exec(params.getProcess(), choice); },
                    "run a command in container"_kj, container->getId(), results);
  co_return;
}

kj::Promise<void> ContainerServer::attach(AttachContext context) {
  auto params = context.getParams();
  StreamChoice choice{params.getStdin(), params.getStdout(), params.getStderr()};
  auto results = context.getResults();
  answerWithSession([&]() { return container->attach(choice); }, "attach to container"_kj,
                    container->getId(), results);
  co_return;
}

kj::Promise<void> ContainerServer::reopenLog(ReopenLogContext context) {
  Work work(shimContext.work);
  auto failure = co_await asFailure(container->reopenLog(), "reopen the log of container"_kj,
                                    container->getId());
  writeOutcome(failure, context.getResults().initOutcome());
}

kj::Promise<void> ContainerServer::updateResources(UpdateResourcesContext context) {
  auto params = context.getParams();
  kj::Maybe<int32_t> oomScoreAdj;
  if (params.getSetOomScoreAdj()) oomScoreAdj = params.getOomScoreAdj();
  writeOutcome(container->updateResources(params.getResources(), oomScoreAdj),
               context.getResults().initOutcome());
  co_return;
}

kj::Promise<void> ContainerServer::remove(RemoveContext context) {
  auto failure = co_await pod.removeContainer(kj::addRef(*container));
  writeOutcome(failure, context.getResults().initOutcome());
}

kj::Promise<void> ContainerServer::descriptors(DescriptorsContext context) {
  auto descriptors = container->descriptors();
  auto list = context.getResults().initDescriptors(descriptors.size());
  fillDescriptors(descriptors, list);
  co_return;
}

kj::Promise<void> ContainerServer::signal(SignalContext context) {
  writeOutcome(container->signal(context.getParams().getSignal()),
               context.getResults().initOutcome());
  co_return;
}

kj::Maybe<FailureValue> ContainerServer::refuseIfRemoved(kj::StringPtr step) const {
  if (!container->isRemoved()) return nullptr;
  return plainFailure(Failure::Code::NOT_FOUND, step, container->getId(), "it has been removed");
}

}  // namespace belay::shim
