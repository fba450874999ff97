// Pods and containers as people write them in files: crictl's JSON, the CRI's messages with their
// proto field names. belayctl reads it, so that one file serves both tools.
#pragma once

#include <kj/string.h>

#include "supervisor/model.capnp.h"
#include "supervisor/owned.h"

namespace belay::supervisor {

// PodSandboxConfig and ContainerConfig. What a person needs to try something is known; every other
// key is an error that names it, so that nothing is silently left out: kubelet and crictl speak the
// CRI itself. INVALID_ARGUMENT with the key's path and the reason.
Owned<PodConfig> podConfigFromJson(kj::StringPtr json);
Owned<ContainerConfig> containerConfigFromJson(kj::StringPtr json);

}  // namespace belay::supervisor
