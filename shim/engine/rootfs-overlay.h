// The container's root file system: an overlay of its image's layers, mounted by the set-up child
// in its own mount namespace only.
#pragma once

#include "shim/engine/report.h"
#include "shim/engine/user-namespace.h"
#include "shim/spec.capnp.h"

namespace belay::shim {

// How the layers are told to the kernel.
enum class OverlayWay {
  BEST,       // One "lowerdir+" for each layer, Linux 6.5; where it is unknown, MOUNT_CALL.
  MOUNT_CALL  // One string for mount(2), with layers named by descriptors: up to 128 fit the 4 KiB.
};

// Mounts the overlay, writable, upon the working directory, and returns a descriptor of its root.
// For a child after the clone, inside a private mount namespace; /proc is the host's.
//
// In a pod with a user namespace the layers' owners, and what is written, are shown mapped to the
// pod's ids: each layer is a mount of its own for that, and left mounted there, below the overlay
// (so that no layer's path may lead through the working directory). Files are then to be made as
// the pod's root (user-namespace.h), by overlay itself too.
int mountOverlay(const Reporter& reporter, Rootfs::Reader rootfs, PodUsers users,
                 OverlayWay way = OverlayWay::BEST);

}  // namespace belay::shim
