// The device nodes of a container.
#pragma once

#include <kj/array.h>
#include <kj/string.h>

#include "shim/spec.capnp.h"
#include "supervisor/model.capnp.h"

namespace belay::supervisor {

struct DeviceNode {
  kj::String path;      // in the container
  kj::String hostPath;  // on the host
  char type;            // 'c' or 'b'
  uint32_t major;
  uint32_t minor;
  kj::String access;  // of "rwm"
  uint32_t fileMode;  // permission bits
  bool hostsOwner;    // not the container's root's: nobody asked for this one by name
};

// The six that every container has, the client's (a folder stands for every device node below it),
// and for a privileged container all of the host's. One node per path: the client's beats
// one of the six, and that beats the host's. Reads nodes by descriptor and opens no device.
// INVALID_ARGUMENT for what is absent or no device.
kj::Array<DeviceNode> planDevices(ContainerConfig::Reader config);

// True if that looks at the host's files, which may hang.
bool looksAtHost(ContainerConfig::Reader config);

void fillDevices(capnp::List<shim::Device>::Builder to, kj::ArrayPtr<const DeviceNode> nodes);

}  // namespace belay::supervisor
