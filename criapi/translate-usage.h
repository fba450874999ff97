// What pods and containers use, as the CRI's stats.
#pragma once

#include "criapi/cri.pb.h"
#include "supervisor/runtime.h"

namespace belay::criapi {

void readContainerStats(const supervisor::ContainerUsageView& usage,
                        runtime::v1::ContainerStats& stats);
void readPodSandboxStats(const supervisor::PodUsageView& usage,
                         runtime::v1::PodSandboxStats& stats);

}  // namespace belay::criapi
