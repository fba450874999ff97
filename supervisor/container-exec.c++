// Containers while they run: commands in them, attached clients, their log. See
// container-manager.h.
#include <kj/debug.h>

#include "failpoint/failpoint.h"
#include "snapshot/failure.h"
#include "supervisor/attempt.h"
#include "supervisor/call-container.h"
#include "supervisor/container-manager.h"
#include "supervisor/shim-descriptor.h"
#include "supervisor/shim-failure.h"

namespace belay::supervisor {

namespace {

using snapshot::Code;
using snapshot::fail;

// The CRI's limit for each of stdout and stderr: a reply may have 16 MiB in all.
constexpr uint64_t MAX_EXEC_BYTES = 16'000'000;

}  // namespace

kj::Own<Container> ContainerManager::getRunning(kj::StringPtr id) {
  auto container = parts.inventory.getContainer(id);
  switch (container->state()) {
    case ContainerView::State::RUNNING:
      return container;
    case ContainerView::State::UNKNOWN:
      fail(Code::UNAVAILABLE, "the shim of container ", container->id(),
           " is dead or does not answer");
    case ContainerView::State::CREATED:
    case ContainerView::State::EXITED:
      break;
  }
  fail(Code::FAILED_PRECONDITION, "container ", container->id(), " is not running");
}

kj::Promise<ExecResult> ContainerManager::execSync(kj::StringPtr id, kj::Array<kj::String> command,
                                                   kj::Duration limit) {
  auto container = getRunning(id);
  auto process = buildExecProcess(container->get().getSpec(), command, false);
  auto shim = co_await container->pod().client();
  CO_FAILPOINT(parts.timer, "belayd.exec-sync/before-shim");
  // Once only: nobody knows what the command has done by the time a shim is lost.
  auto asking = callContainerOnce(shim, container->id(), [&](shim::Container::Client target) {
    auto request = target.execSyncRequest();
    request.setProcess(process.get());
    request.setTimeoutMs(limit / kj::MILLISECONDS);
    request.setMaxBytes(MAX_EXEC_BYTES);
    return request.send();
  });
  using Answer = capnp::Response<shim::Container::ExecSyncResults>;
  auto running = asking.catch_([](kj::Exception&& exception) -> kj::Promise<Answer> {
    if (!isLostShim(exception)) return kj::mv(exception);
    fail(Code::UNAVAILABLE,
         "the pod's shim was lost while the command ran: how it ended, and "
         "whether it did, is not known");
  });
  auto answer = limit == 0 * kj::SECONDS ? co_await kj::mv(running)
                                         : co_await orLate(parts.timer, limit + SLACK,
                                                           "the shim's answer", kj::mv(running));
  CO_FAILPOINT(parts.timer, "belayd.exec-sync/after-shim");
  requireDone(answer.getOutcome());
  if (answer.getTimedOut()) {
    fail(Code::DEADLINE_EXCEEDED, "the command did not end within ", limit / kj::SECONDS,
         " s and was killed with all that it had started");
  }
  auto output = co_await receiveDescriptor(answer.getStdout());
  auto errors = co_await receiveDescriptor(answer.getStderr());
  co_return ExecResult{answer.getExitCode(), kj::mv(output), kj::mv(errors)};
}

kj::Promise<void> ContainerManager::reopenLog(kj::StringPtr id) {
  auto container = getRunning(id);
  CO_FAILPOINT(parts.timer, "belayd.reopen-container-log/before-shim");
  auto reopening = callContainer(
      parts.timer, container->pod(), container->id(),
      [](shim::Container::Client target) { return target.reopenLogRequest().send(); });
  auto answer =
      co_await orLate(parts.timer, SLACK, "the shim's reopening of the log", kj::mv(reopening));
  requireDone(answer.getOutcome());
}

kj::Promise<kj::AutoCloseFd> ContainerManager::exec(kj::StringPtr id, kj::Array<kj::String> command,
                                                    bool terminal, StreamSet streams) {
  auto container = getRunning(id);
  auto process = buildExecProcess(container->get().getSpec(), command, terminal);
  // Nothing runs before the session says so.
  auto asking = callContainer(parts.timer, container->pod(), container->id(),
                              [&](shim::Container::Client target) {
                                auto request = target.execRequest();
                                request.setProcess(process.get());
                                request.setStdin(streams.in);
                                request.setStdout(streams.out);
                                request.setStderr(streams.err);
                                return request.send();
                              });
  auto answer = co_await orLate(parts.timer, SLACK, "the shim's answer", kj::mv(asking));
  requireDone(answer.getOutcome());
  CO_FAILPOINT(parts.timer, "belayd.exec/after-shim");
  co_return co_await receiveDescriptor(answer.getSession());
}

kj::Promise<kj::AutoCloseFd> ContainerManager::attach(kj::StringPtr id, StreamSet streams) {
  auto container = getRunning(id);
  bool terminal = container->get().getSpec().getProcess().getTerminal();
  auto asking = callContainer(parts.timer, container->pod(), container->id(),
                              [&](shim::Container::Client target) {
                                auto request = target.attachRequest();
                                request.setStdin(streams.in);
                                request.setStdout(streams.out);
                                request.setStderr(streams.err && !terminal);
                                return request.send();
                              });
  auto answer = co_await orLate(parts.timer, SLACK, "the shim's answer", kj::mv(asking));
  requireDone(answer.getOutcome());
  CO_FAILPOINT(parts.timer, "belayd.attach/after-shim");
  co_return co_await receiveDescriptor(answer.getSession());
}

}  // namespace belay::supervisor
