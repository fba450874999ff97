// What is mounted in a container: the kernel's filesystems, the pod's files, the client's mounts
// and the volumes that its image declares.
#pragma once

#include <kj/vector.h>

#include "shim/spec.capnp.h"
#include "supervisor/model.capnp.h"
#include "supervisor/owned.h"

namespace belay::supervisor {

struct MountInputs {
  ContainerConfig::Reader config;
  // VOLUMEs of the image's configuration.
  capnp::List<capnp::Text>::Reader imageVolumes;
  shim::IdMap::Reader podIds;
  // Holds hosts, hostname and resolv.conf.
  kj::StringPtr podFilesDir;
};

// In the order in which they are to be made: those nearer the root first. A mount of the client's
// replaces a default one at the same place; a volume of the image's counts only where nothing else
// is mounted, neither there nor above. Sources are not looked at here: they may hang or be missing,
// and the shim's child that opens them says so.
kj::Vector<Owned<shim::Mount>> planMounts(const MountInputs& inputs);

}  // namespace belay::supervisor
