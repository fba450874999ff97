// The cgroups of what belayd starts.
#pragma once

#include <kj/async.h>
#include <kj/timer.h>

#include "supervisor/cgroups.h"
#include "supervisor/config/config.h"
#include "supervisor/helper-home.h"

namespace belay::supervisor {

struct Homes {
  // `timer` outlives this object.
  Homes(const Config& config, kj::Timer& timer);

  Cgroups cgroups;
  HelperHome plugins;
  HelperHome pullers;

  // Ends what a former belayd left running, before the store is looked at. What hangs in the kernel
  // holds up only what needs it to be gone.
  kj::Promise<void> sweep(kj::Timer& timer);
};

}  // namespace belay::supervisor
