// What pods and containers use: asked of all their shims at once, which read it from their cgroups.
#pragma once

#include "supervisor/layer-usage.h"
#include "supervisor/parts.h"
#include "supervisor/runtime.h"

namespace belay::supervisor {

class UsageManager {
 public:
  // How long a shim may take before its pod is left out.
  static constexpr kj::Duration LIMIT = 2 * kj::SECONDS;

  explicit UsageManager(Parts& parts) : parts(parts), layers(parts.snapshotter, parts.timer) {}
  KJ_DISALLOW_COPY_AND_MOVE(UsageManager);

  // See Runtime.
  kj::Promise<kj::Array<ContainerUsageView>> ofContainers(kj::Array<ContainerView> wanted);
  kj::Promise<kj::Array<PodUsageView>> ofPods(kj::Array<PodView> wanted);

 private:
  Parts& parts;
  LayerUsage layers;

  // Null from a shim that does not answer well.
  using Answer = kj::Maybe<capnp::Response<shim::Shim::UsageResults>>;

  kj::Promise<Answer> ask(kj::Own<Pod> pod, bool wholePod);
  kj::Promise<kj::Array<Answer>> askAll(kj::ArrayPtr<kj::Own<Pod>> pods, bool wholePods);
  kj::Maybe<ContainerUsageView> viewOf(const Pod& pod, shim::ContainerUsage::Reader usage);
};

}  // namespace belay::supervisor
