// A pod's user namespace, and how the engine's children become of it.
//
// A child does what needs the host's privileges (mounts, devices, looking at the image) as the
// host's root, but makes files as the pod's; then it enters the namespace for good.
#pragma once

#include <kj/common.h>
#include <sys/types.h>

#include "shim/engine/report.h"
#include "shim/spec.capnp.h"

namespace belay::shim {

// Which ids of the host's a pod's are.
struct IdMapping {
  uint32_t firstHostId = 0;
  // 0: the pod is in the host's user namespace.
  uint32_t count = 0;

  IdMapping() = default;
  explicit IdMapping(IdMap::Reader map)
      : firstHostId(map.getFirstHostId()), count(map.getCount()) {}

  bool isOwn() const { return count > 0; }
  bool has(uint32_t id) const { return !isOwn() || id < count; }
  // Of an id that it has.
  uint32_t toHost(uint32_t id) const { return isOwn() ? firstHostId + id : id; }
};

// What a pod's containers have of it. Borrowed.
struct PodUsers {
  // A namespace file, or -1.
  int userNamespace = -1;
  IdMapping ids;

  bool isOwn() const { return ids.isOwn(); }
};

// Writes the maps of the new user namespace of a child of this process, as its parent may once.
// Answers 0 or the errno.
int writeIdMaps(pid_t child, IdMapping ids);

// --- for children after the clone: these allocate nothing, report failures and exit

// From here on this process makes files as the pod's root, and loses none of its privileges.
// Nothing if the pod has no ids of its own.
void makeFilesAsPod(const Reporter& reporter, IdMapping ids);

// Becomes root of the user namespace that this process is in by now, with all its capabilities.
void becomeRootOfPod(const Reporter& reporter);

// Enters the user namespace for good, as its root. `handle` is a namespace file, or the pidfd of a
// process in it.
void enterUserNamespace(const Reporter& reporter, int handle);

}  // namespace belay::shim
