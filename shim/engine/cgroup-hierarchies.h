// Where the machine's cgroup hierarchies are mounted, and which controllers each has: cgroup v1,
// the hybrid layout (v1 controllers, and an empty v2 hierarchy beside them), or v2 alone.
#pragma once

#include <kj/array.h>
#include <kj/io.h>
#include <kj/string.h>
#include <kj/vector.h>

namespace belay::shim {

class CgroupHierarchies {
 public:
  struct Hierarchy {
    enum class Version { V1, V2 };
    Version version;
    kj::String mountPoint;

    // Of v2: what cgroup.controllers of the root says. "name=systemd" is a controller of v1.
    kj::Array<kj::String> controllers;

    // O_PATH.
    kj::AutoCloseFd root;
  };

  // Reads the mounts of this process. Throws if there is no cgroup hierarchy at all.
  static CgroupHierarchies discover();

  // The same from the text of a mountinfo file, whose mounts must be those of this process or
  // fewer.
  static CgroupHierarchies fromMountinfo(kj::StringPtr mountinfo);

  // The hierarchies that the text of a mountinfo file (proc(5)) tells of. Opens nothing: `root` is
  // null, and the controllers of v2 are unknown. A hierarchy mounted twice is there once.
  static kj::Vector<Hierarchy> parse(kj::StringPtr mountinfo);

  kj::ArrayPtr<const Hierarchy> all() const { return hierarchies; }

  // The hierarchy that has the controller, v1 or v2.
  kj::Maybe<const Hierarchy&> withController(kj::StringPtr controller) const;

  // The v2 hierarchy: the only one, or the hybrid layout's.
  kj::Maybe<const Hierarchy&> unified() const;

 private:
  explicit CgroupHierarchies(kj::Array<Hierarchy> hierarchies) : hierarchies(kj::mv(hierarchies)) {}

  kj::Array<Hierarchy> hierarchies;
};

}  // namespace belay::shim
