// The devices of a container, looked up without the event loop's waiting for them.
#pragma once

#include <kj/array.h>
#include <kj/async.h>

#include "supervisor/spec/devices.h"

namespace belay::supervisor {

// planDevices(), on a thread if it has to look at the host: what lies at the paths may hang, as a
// volume does whose server is dead. Dropping the promise leaves such a thread to the kernel.
// `config` is read before the first suspension only.
kj::Promise<kj::Array<DeviceNode>> lookUpDevices(ContainerConfig::Reader config);

}  // namespace belay::supervisor
