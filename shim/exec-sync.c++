// Implementation of exec-sync.h.
#include "shim/exec-sync.h"

#include <fcntl.h>
#include <kj/debug.h>
#include <unistd.h>

#include "shim/exec-cgroup.h"
#include "shim/stdio/capture.h"
#include "shim/stdio/descriptors.h"

namespace belay::shim {
namespace {

// How long descendants that keep the output open are waited for after the process ended.
constexpr kj::Duration DRAIN_LIMIT = 1 * kj::SECONDS;

// A killed process that is stuck in the kernel (a hung NFS mount) is not waited for any longer.
constexpr kj::Duration KILL_PATIENCE = 5 * kj::SECONDS;

constexpr int EXIT_KILLED = 128 + 9;

// Resolves at the time-out; never without one.
kj::Promise<void> timeOut(ShimContext& context, const ExecSyncLimits& limits) {
  KJ_IF_MAYBE (duration, limits.timeout) return context.engine.timer.afterDelay(*duration);
  return kj::NEVER_DONE;
}

}  // namespace

kj::Promise<kj::OneOf<ExecSyncResult, FailureValue>> execSync(
    ShimContext& context, ProcessSpec::Reader process, EnterTarget target,
    kj::Own<Cgroup> ownCgroup, ExecSyncLimits limits, kj::TaskSet& tasks) {
  kj::OneOf<ExecSyncResult, FailureValue> answer;
  ExecCgroup cgroup(context, kj::mv(ownCgroup), tasks);
  Capture out(context.engine.eventPort, "exec-stdout"_kj, limits.maxBytes);
  Capture err(context.engine.eventPort, "exec-stderr"_kj, limits.maxBytes);
  bool timedOut = false;
  auto deadline = timeOut(context, limits).then([&]() { timedOut = true; }).fork();

  // The process may be over before its pid is known here.
  auto hold = kj::heap<Reaper::Hold>(context.reaper);
  kj::Maybe<kj::OneOf<Entered, FailureValue>> entering;
  co_await enterContainer(
      context.engine, process, target, cgroup.get(),
      {.in = openNull(O_RDONLY), .out = out.takeWriteEnd(), .err = err.takeWriteEnd()})
      .then([&](kj::OneOf<Entered, FailureValue>&& result) { entering = kj::mv(result); })
      .exclusiveJoin(deadline.addBranch());

  int exitCode = EXIT_KILLED;
  KJ_IF_MAYBE (result, entering) {
    if (result->is<FailureValue>()) {
      answer.init<FailureValue>(kj::mv(result->get<FailureValue>()));
      co_return answer;
    }
    auto exited = context.reaper.onExit(result->get<Entered>().pid)
                      .then([&](ExitStatus status) { exitCode = status.code; })
                      .fork();
    hold = nullptr;
    co_await exited.addBranch().exclusiveJoin(deadline.addBranch());
    if (timedOut) {
      cgroup.kill();
      co_await exited.addBranch()
          .then([&]() { return cgroup.whenEmpty(); })
          .exclusiveJoin(context.engine.timer.afterDelay(KILL_PATIENCE));
    } else {
      cgroup.release();
      auto drained = kj::heapArrayBuilder<kj::Promise<void>>(2);
      drained.add(out.whenEnded());
      drained.add(err.whenEnded());
      co_await kj::joinPromises(drained.finish())
          .exclusiveJoin(context.engine.timer.afterDelay(DRAIN_LIMIT));
    }
  }
  answer.init<ExecSyncResult>(ExecSyncResult{exitCode, timedOut, out.finish(), err.finish()});
  co_return answer;
}

}  // namespace belay::shim
