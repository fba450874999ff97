// Implementation of shim-server.h: translates calls, and failures into values.
#include "shim/shim-server.h"

#include <unistd.h>

#include "failpoint/failpoint.h"
#include "shim/connections.h"
#include "shim/container-server.h"
#include "shim/failure.h"
#include "shim/session-answer.h"
#include "shim/stdio/descriptors.h"

namespace belay::shim {

kj::StringPtr versionText() {
  return "0.1.0"_kj;
}

kj::Promise<void> ShimServer::info(InfoContext context) {
  auto results = context.getResults();
  results.setProtocolVersion(PROTOCOL_VERSION);
  results.setVersion(versionText());
  results.setPid(getpid());
  results.setPodId(pod.getId());
  results.setGeneration(pod.generation());
  co_return;
}

kj::Promise<void> ShimServer::createPod(CreatePodContext context) {
  Work work(shimContext.work);
  auto failure = co_await pod.create(context.getParams().getSpec());
  auto results = context.getResults();
  writeOutcome(failure, results.initOutcome());
  pod.fillState(results.initState());
}

kj::Promise<void> ShimServer::state(StateContext context) {
  pod.fillState(context.getResults().initState());
  co_return;
}

kj::Promise<void> ShimServer::createContainer(CreateContainerContext context) {
  Work work(shimContext.work);
  auto created = co_await pod.createContainer(context.getParams().getSpec());
  auto results = context.getResults();
  KJ_SWITCH_ONEOF(created) {
    KJ_CASE_ONEOF(container, kj::Own<PodContainer>) {
      results.initOutcome().setDone();
      results.setContainer(kj::heap<ContainerServer>(shimContext, pod, kj::mv(container)));
    }
    KJ_CASE_ONEOF(failure, FailureValue) {
      writeFailure(failure, results.initOutcome().initFailed());
    }
  }
}

kj::Promise<void> ShimServer::container(ContainerContext context) {
  auto id = context.getParams().getId();
  auto results = context.getResults();
  KJ_IF_MAYBE (found, pod.find(id)) {
    results.initOutcome().setDone();
    results.setContainer(kj::heap<ContainerServer>(shimContext, pod, kj::addRef(*found)));
  } else {
    writeFailure(plainFailure(Failure::Code::NOT_FOUND, "find container", id,
                              kj::str("pod ", pod.getId(), " has none of that id")),
                 results.initOutcome().initFailed());
  }
  co_return;
}

kj::Promise<void> ShimServer::watch(WatchContext context) {
  pod.watch(context.getParams().getWatcher());
  co_return;
}

kj::Promise<void> ShimServer::descriptors(DescriptorsContext context) {
  kj::Vector<PodContainer::Descriptor> descriptors;
  for (auto& container : pod.all()) {
    auto more = container->descriptors();
    // What a message cannot carry would arrive without its descriptor. A watcher gets one message
    // for each container, and Container.descriptors is one, too.
    if (descriptors.size() + more.size() > MAX_FDS_PER_MESSAGE) break;
    for (auto& descriptor : more)
      descriptors.add(kj::mv(descriptor));
  }
  auto list = context.getResults().initDescriptors(descriptors.size());
  fillDescriptors(descriptors, list);
  co_return;
}

kj::Promise<void> ShimServer::removePod(RemovePodContext context) {
  Work work(shimContext.work);
  auto failure = co_await pod.remove();
  writeOutcome(failure, context.getResults().initOutcome());
}

kj::Promise<void> ShimServer::usage(UsageContext context) {
  auto results = context.getResults();
  auto failure = pod.fillUsage(context.getParams().getPod(), results);
  writeOutcome(failure, results.initOutcome());
  co_return;
}

kj::Promise<void> ShimServer::portForward(PortForwardContext context) {
  auto results = context.getResults();
  answerWithSession([&]() { return pod.portForward(); }, "forward ports of pod"_kj, pod.getId(),
                    results);
  co_return;
}

kj::Promise<void> ShimServer::debug(DebugContext context) {
  auto params = context.getParams();
  auto results = context.getResults();
  results.initOutcome().setDone();
  if (params.getFailpoint().size() > 0) {
    KJ_IF_MAYBE (fault, failpoint::set(params.getFailpoint(), params.getAction())) {
      writeFailure(plainFailure(Failure::Code::INVALID_ARGUMENT, "set failpoint",
                                params.getFailpoint(), *fault),
                   results.initOutcome().initFailed());
    }
  }
  auto points = failpoint::list();
  auto list = results.initFailpoints(points.size());
  for (uint i : kj::indices(points)) {
    list[i].setName(points[i].name);
    list[i].setAction(points[i].action);
    list[i].setPasses(points[i].passes);
  }
  co_return;
}

kj::Promise<void> ShimServer::inherit(InheritContext context) {
  for (auto descriptor : context.getParams().getDescriptors()) {
    auto received = co_await descriptor.getFile().getFd();
    KJ_IF_MAYBE (fd, received) pod.inheritance().add(descriptor.getName(), duplicate(*fd));
  }
}

kj::Promise<void> ShimServer::adopt(AdoptContext context) {
  for (auto exit : context.getParams().getExits())
    noteExit(exit);
  auto failure = co_await pod.adopt();
  auto results = context.getResults();
  writeOutcome(failure, results.initOutcome());
  pod.fillState(results.initState());
}

kj::Promise<void> ShimServer::orphanExited(OrphanExitedContext context) {
  noteExit(context.getParams().getExit());
  co_return;
}

kj::Promise<void> ShimServer::upgrade(UpgradeContext context) {
  auto params = context.getParams();
  auto limit = params.getLimitMs() * kj::MILLISECONDS;
  auto received = co_await params.getProgram().getFd();
  auto outcome = context.getResults().initOutcome();
  KJ_IF_MAYBE (fd, received) {
    auto failure = co_await asFailure(
        KJ_ASSERT_NONNULL(upgrader).run(duplicate(*fd), limit).then([](FailureValue&& reason) {
          return kj::Maybe<FailureValue>(kj::mv(reason));
        }),
        "replace the shim of pod"_kj, pod.getId());
    writeOutcome(failure, outcome);
  } else {
    writeFailure(plainFailure(Failure::Code::INVALID_ARGUMENT, "replace the shim of pod",
                              pod.getId(), "the program did not arrive"),
                 outcome.initFailed());
  }
}

void ShimServer::noteExit(OrphanExit::Reader exit) {
  shimContext.foreignExits.told(
      exit.getPid(),
      {.code = exit.getCode(), .signal = exit.getSignal(), .finishedAtNs = exit.getFinishedAtNs()});
}

}  // namespace belay::shim
