// Directories of one cgroup hierarchy: making them with what the kernel wants filled in, listing
// the processes below one, removing one with its children.
#pragma once

#include <kj/string.h>
#include <kj/vector.h>
#include <sys/types.h>

#include "shim/engine/cgroup-hierarchies.h"

namespace belay::shim {

// Makes cgroup directories, and takes back what it made unless keep() is called.
class CgroupMaker {
 public:
  CgroupMaker() = default;
  ~CgroupMaker() noexcept(false);
  KJ_DISALLOW_COPY(CgroupMaker);

  // Makes the absolute `path` and its missing parents. v1's cpuset gets its parent's CPUs and
  // memory nodes, without which nothing can join; in v2 without v1 every parent gives its children
  // all controllers.
  void make(const CgroupHierarchies::Hierarchy& hierarchy, kj::StringPtr path);

  // Makes the absolute `path`, whose parent exists and keeps its controllers to itself. For a child
  // of a cgroup with processes: in v2 such a parent may give its children nothing, or it is a
  // domain of threads and the child takes no process (cgroup-v2, "Threads").
  void makePlain(const CgroupHierarchies::Hierarchy& hierarchy, kj::StringPtr path);

  bool madeAny() const { return made.size() > 0; }
  void keep() { made.clear(); }

 private:
  struct Made {
    int root;
    kj::String path;
  };
  kj::Vector<Made> made;

  bool makeOne(const CgroupHierarchies::Hierarchy& hierarchy, kj::StringPtr path);
};

// At most `limit` processes of the cgroup at `path` (relative to `root`) and below it. Absent:
// none.
kj::Vector<pid_t> pidsInCgroupTree(int root, kj::StringPtr path, size_t limit);

// Names of the cgroups right below the one at `path` (relative to `root`). Absent: none.
kj::Vector<kj::String> childrenInCgroupTree(int root, kj::StringPtr path);

// Removes the cgroup at `path` (relative to `root`), children first. Absent is fine. Throws if a
// process is in it.
void removeCgroupTree(int root, kj::StringPtr path);

}  // namespace belay::shim
