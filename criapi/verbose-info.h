// The "info" of verbose statuses: JSON for people and scripts that look at `crictl inspect`, under
// the names they know from the CRI (config) and from OCI's runtime-spec (runtimeSpec).
#pragma once

#include <string>

#include "supervisor/runtime.h"

namespace belay::criapi {

// Valid JSON and UTF-8, whatever the records hold.
std::string podInfo(const supervisor::PodView& pod);
std::string containerInfo(const supervisor::ContainerView& container);
// With the image's configuration as it came from the registry.
std::string imageInfo(snapshot::Image::Reader image);

}  // namespace belay::criapi
