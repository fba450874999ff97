// What is mounted in a container: the kernel's filesystems, the pod's files, and the client's
// mounts.
#pragma once

#include <kj/vector.h>

#include "shim/spec.capnp.h"
#include "supervisor/model.capnp.h"
#include "supervisor/owned.h"

namespace belay::supervisor {

// In the order in which they are to be made: those nearer the root first. A mount of the client's
// replaces a default one at the same place. Sources are not looked at here: they may hang or be
// missing, and the shim's child that opens them says so.
// `podFilesDir` holds hosts, hostname and resolv.conf.
kj::Vector<Owned<shim::Mount>> planMounts(ContainerConfig::Reader config,
                                          kj::StringPtr podFilesDir);

}  // namespace belay::supervisor
