// Kernel parameters of a pod's own namespaces.
#pragma once

#include <kj/vector.h>

#include "shim/spec.capnp.h"
#include "supervisor/model.capnp.h"

namespace belay::supervisor {

struct Sysctl {
  kj::String name;  // with dots
  kj::String value;
};

struct SysctlDefaults {
  bool unprivilegedPorts;  // ports below 1024 for everybody in the pod
  bool unprivilegedIcmp;   // ping without NET_RAW
};

// The client's, and over them none: a default is left out when the client sets the same name.
// Names may be written with dots or slashes (sysctl(8): the first of them met is the separator).
// INVALID_ARGUMENT for a parameter that is not of a namespace the pod has of its own: it would
// change the host.
kj::Vector<Sysctl> planSysctls(PodConfig::Reader pod, SysctlDefaults defaults);

}  // namespace belay::supervisor
