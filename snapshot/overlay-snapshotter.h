// Snapshots as overlay mounts: the layers' folders below, one folder of the container's own above.
#pragma once

#include <kj/io.h>
#include <kj/memory.h>

#include "snapshot/snapshotter.h"
#include "snapshot/store.h"
#include "snapshot/trash.h"

namespace belay::snapshot {

// Whether overlay may skip syncing the upper folder (Linux 5.10, "volatile"). A container's
// writable layer is not kept over a reboot, and the sync at unmount can take seconds.
enum class Durability { VOLATILE, SYNCED };

// Below `path` (absolute; it may be on another disk than the store):
//
//     snapshots/KEY/{fs,work}  upper and work folder
//     snapshots/KEY/layers     chain ids, bottom first, one a line
//     trash/
//
// `store` and `helpers` outlive the result.
kj::Own<Snapshotter> newOverlaySnapshotter(kj::StringPtr path, Store& store, Helpers& helpers,
                                           Durability durability = Durability::VOLATILE);

}  // namespace belay::snapshot
