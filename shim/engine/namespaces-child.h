// The helper that is born into the pod's new namespaces and furnishes them.
#pragma once

#include "shim/engine/report.h"
#include "shim/spec.capnp.h"

namespace belay::shim {

// Sets host name and sysctls, brings the loopback interface up, reports READY, and stays until the
// parent's end of the socket is closed. Never returns. `networkIsOwn`: the process is in a network
// namespace of the pod's.
[[noreturn]] void runNamespacesChild(PodSpec::Reader spec, bool networkIsOwn, int reportSocket);

}  // namespace belay::shim
