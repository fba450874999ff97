// See layer-usage.h.
#include "supervisor/layer-usage.h"

#include "supervisor/attempt.h"
#include "supervisor/log.h"

namespace belay::supervisor {

kj::Promise<void> LayerUsage::refresh(kj::ArrayPtr<kj::Own<Container>> containers) {
  kj::Vector<kj::Promise<void>> firsts;
  for (auto& container : containers) {
    auto& layer = container->layer;
    if (layer.measuring == nullptr && timer.now() >= layer.dueAt) {
      auto measured = kj::newPromiseAndFulfiller<void>();
      layer.measuring = measured.promise.fork();
      layer.measured = kj::mv(measured.fulfiller);
      waiting.add(kj::addRef(*container));
    }
    if (layer.timestampNs == 0) {
      KJ_IF_MAYBE (measuring, layer.measuring) firsts.add(measuring->addBranch());
    }
  }
  while (walking < MAX_WALKS && waiting.size() > 0)
    begin();
  if (firsts.size() == 0) return kj::READY_NOW;
  return kj::joinPromises(firsts.releaseAsArray()).exclusiveJoin(timer.afterDelay(PATIENCE));
}

void LayerUsage::begin() {
  auto container = kj::mv(waiting.back());
  waiting.removeLast();
  ++walking;
  walks.add(walk(kj::mv(container)));
}

kj::Promise<void> LayerUsage::walk(kj::Own<Container> container) {
  auto& layer = container->layer;
  auto began = timer.now();
  auto measuring = kj::evalNow([&]() {
                     return snapshotter.usage(container->id());
                   }).then([&layer](snapshot::Usage usage) {
    layer.bytes = usage.bytes;
    layer.inodes = usage.inodes;
    layer.timestampNs = wallClockNs();
  });
  KJ_IF_MAYBE (failure, co_await attempt(kj::mv(measuring))) {
    // Most likely it was removed meanwhile.
    log(LogLevel::DEBUG, "a container's layer cannot be measured", "container", container->id(),
        "reason", snapshot::messageOf(*failure));
  }
  layer.dueAt = timer.now() + kj::max(PERIOD, 100 * (timer.now() - began));
  layer.measuring = nullptr;
  layer.measured->fulfill();
  --walking;
  if (waiting.size() > 0) begin();
}

void LayerUsage::taskFailed(kj::Exception&& exception) {
  log(LogLevel::ERROR, "measuring layers failed", "reason", snapshot::messageOf(exception));
}

}  // namespace belay::supervisor
