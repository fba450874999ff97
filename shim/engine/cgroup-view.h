// What a container sees of its cgroups. For children after the clone: allocates nothing once it is
// laid out, reports failures and exits.
#pragma once

#include <kj/array.h>
#include <kj/string.h>
#include <kj/vector.h>

#include "shim/engine/cgroup-hierarchies.h"
#include "shim/engine/report.h"

namespace belay::shim {

// Mounts for /sys/fs/cgroup: one directory for each v1 hierarchy with a link for each controller,
// as the host has them; on a v2 machine the cgroup itself.
class CgroupView {
 public:
  // Laid out before the clone.
  CgroupView(const CgroupHierarchies& hierarchies, kj::StringPtr path);

  // Detached mounts of the cgroup's directories, opened in the child's own mount namespace.
  void open(const Reporter& reporter);

  // Puts the view at `target`, a directory in the rootfs, with the given MOUNT_ATTR_*.
  void attach(const Reporter& reporter, int target, uint64_t attributes);

 private:
  struct Part {
    kj::String source;
    kj::String name;
    kj::Array<kj::String> links;
    int tree = -1;
  };
  kj::Vector<Part> parts;
  bool v2Alone;
};

}  // namespace belay::shim
