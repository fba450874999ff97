// UpdateContainerResources, of container-manager.h.
#include <kj/debug.h>

#include "snapshot/failure.h"
#include "supervisor/call-container.h"
#include "supervisor/container-manager.h"
#include "supervisor/log.h"
#include "supervisor/spec/resources.h"

namespace belay::supervisor {

namespace {

using snapshot::Code;
using snapshot::fail;

constexpr kj::Duration UPDATE_LIMIT = 60 * kj::SECONDS;

// Throws unless the container's cgroup is there to be changed.
void requireCgroup(const Container& container) {
  switch (container.state()) {
    case ContainerView::State::CREATED:
    case ContainerView::State::RUNNING:
      return;
    case ContainerView::State::EXITED:
      fail(Code::FAILED_PRECONDITION, "container ", container.id(),
           " has exited: it has no limits any more");
    case ContainerView::State::UNKNOWN:
      fail(Code::UNAVAILABLE, "the shim of container ", container.id(),
           " is dead or does not answer");
  }
}

}  // namespace

kj::Promise<void> ContainerManager::updateResources(kj::StringPtr id,
                                                    Owned<LinuxResources> change) {
  auto container = parts.inventory.getContainer(id);
  // Different changes take turns, equal ones are one.
  auto name = kj::str("update-resources ", container->id(), ' ', describe(change.get()));
  return parts.operations
      .run(kj::mv(name),
           [this, container = kj::mv(container),
            change = kj::mv(change)](Operation& operation) mutable {
             return takeTurnToUpdate(kj::mv(container), kj::mv(change), operation);
           })
      .ignoreResult();
}

kj::Promise<kj::String> ContainerManager::takeTurnToUpdate(kj::Own<Container> container,
                                                           Owned<LinuxResources> change,
                                                           Operation& operation) {
  operation.enter("wait for the container's turn");
  auto turn = co_await container->turns.take();
  operation.enter("check the limits");
  requireCgroup(*container);
  auto merged = mergeResources(container->get().getConfig().getResources(), change.get());
  auto limits = Owned<shim::Resources>::make(
      [&](shim::Resources::Builder to) { fillResources(to, merged.get()); });
  int32_t score = oomScoreAdj(merged.get(), parts.specOptions.oomScoreAdjFloor);

  operation.enter("change the limits");
  auto changing = callContainer(parts.timer, container->pod(), container->id(),
                                [&](shim::Container::Client target) {
                                  auto request = target.updateResourcesRequest();
                                  fillChange(request.initResources(), limits.get(), change.get());
                                  request.setOomScoreAdj(score);
                                  request.setSetOomScoreAdj(change.get().getOomScoreAdj() != 0);
                                  return request.send();
                                });
  auto answer = co_await operation.within(UPDATE_LIMIT, kj::mv(changing));
  requireDone(answer.getOutcome());
  parts.inventory.update(*container, [&](ContainerRecord::Builder record) {
    record.getConfig().setResources(merged.get());
    record.getSpec().setResources(limits.get());
    record.getSpec().getProcess().setOomScoreAdj(score);
  });
  log(LogLevel::INFO, "container has new limits", "container", container->id(), "limits",
      describe(change.get()));
  co_return kj::String();
}

}  // namespace belay::supervisor
