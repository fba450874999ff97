// See device-lookup.h.
#include "supervisor/device-lookup.h"

#include <kj/refcount.h>

#include "supervisor/on-thread.h"
#include "supervisor/owned.h"

namespace belay::supervisor {

namespace {

// Both threads' while the look-up lasts.
struct Lookup : public kj::AtomicRefcounted {
  explicit Lookup(ContainerConfig::Reader config) : config(config) {}

  Owned<ContainerConfig> config;
  kj::Array<DeviceNode> found;
};

}  // namespace

kj::Promise<kj::Array<DeviceNode>> lookUpDevices(ContainerConfig::Reader config) {
  if (!looksAtHost(config)) co_return planDevices(config);
  auto lookup = kj::atomicRefcounted<Lookup>(config);
  co_await onThread([lookup = kj::atomicAddRef(*lookup)]() mutable {
    lookup->found = planDevices(lookup->config.get());
  });
  co_return kj::mv(lookup->found);
}

}  // namespace belay::supervisor
