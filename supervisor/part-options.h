// What the configuration means for the parts that belayd is made of.
#pragma once

#include "snapshot/puller.h"
#include "supervisor/cni/cni.h"
#include "supervisor/config/config.h"

namespace belay::supervisor {

snapshot::PullerOptions pullerOptions(const Config& config);
CniOptions cniOptions(const Config& config);

}  // namespace belay::supervisor
