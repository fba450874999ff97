// How much containers have written to their root file systems: measured in the background now and
// then, because it means walking a tree, and answered from memory.
#pragma once

#include <kj/async.h>
#include <kj/timer.h>
#include <kj/vector.h>

#include "snapshot/snapshotter.h"
#include "supervisor/inventory.h"

namespace belay::supervisor {

class LayerUsage final : private kj::TaskSet::ErrorHandler {
 public:
  // A measurement is repeated, when somebody asks, after this long, or after a hundred times as
  // long as it took, whichever is more.
  static constexpr kj::Duration PERIOD = 30 * kj::SECONDS;

  // Walks at a time, each in a helper process.
  static constexpr size_t MAX_WALKS = 2;

  // How long an answer waits for first measurements.
  static constexpr kj::Duration PATIENCE = 500 * kj::MILLISECONDS;

  // Both outlive this object.
  LayerUsage(snapshot::Snapshotter& snapshotter, kj::Timer& timer)
      : snapshotter(snapshotter), timer(timer), walks(*this) {}
  KJ_DISALLOW_COPY_AND_MOVE(LayerUsage);

  // Begins the measurements that it is time for (Container::layer). Resolves at once, or, when some
  // of the containers were never measured, when they are, or PATIENCE is over.
  kj::Promise<void> refresh(kj::ArrayPtr<kj::Own<Container>> containers);

 private:
  snapshot::Snapshotter& snapshotter;
  kj::Timer& timer;
  kj::Vector<kj::Own<Container>> waiting;  // the next one last
  size_t walking = 0;
  kj::TaskSet walks;

  void begin();
  kj::Promise<void> walk(kj::Own<Container> container);
  void taskFailed(kj::Exception&& exception) override;
};

}  // namespace belay::supervisor
