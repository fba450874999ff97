// The filters of the list calls: which pods and containers a client wants to see. All fields that
// are set must match; ids match by prefix; a filter that fits nothing gives an empty list, not an
// error.
#pragma once

#include "criapi/cri.pb.h"
#include "supervisor/runtime.h"

namespace belay::criapi {

bool matches(const runtime::v1::PodSandboxFilter& filter, const supervisor::PodView& pod);
bool matches(const runtime::v1::ContainerFilter& filter,
             const supervisor::ContainerView& container);
bool matches(const runtime::v1::PodSandboxStatsFilter& filter, const supervisor::PodView& pod);
bool matches(const runtime::v1::ContainerStatsFilter& filter,
             const supervisor::ContainerView& container);

}  // namespace belay::criapi
