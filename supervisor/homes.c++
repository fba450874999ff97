// See homes.h.
#include "supervisor/homes.h"

#include "snapshot/failure.h"
#include "supervisor/log.h"

namespace belay::supervisor {

namespace {

// For the helpers of a killed belayd to die. It takes milliseconds, if anything is left at all.
constexpr kj::Duration SWEEP_LIMIT = 2 * kj::SECONDS;

}  // namespace

Homes::Homes(const Config& config, kj::Timer& timer)
    : cgroups(config.cgroupRoot),
      plugins(cgroups, kj::str(config.cgroupRoot, "/cni"), timer),
      pullers(cgroups, kj::str(config.cgroupRoot, "/pull"), timer) {}

kj::Promise<void> Homes::sweep(kj::Timer& timer) {
  auto free = plugins.whenFree().then([this] { return pullers.whenFree(); });
  return free.exclusiveJoin(timer.afterDelay(SWEEP_LIMIT))
      .catch_([](kj::Exception&& exception) {
        log(LogLevel::ERROR, "a helper of a former belayd is still there", "reason",
            snapshot::messageOf(exception));
      })
      .then([this] {
        plugins.open();
        pullers.open();
      });
}

}  // namespace belay::supervisor
