// The mounts of a container's specification. For children after the clone: allocates nothing,
// reports failures and exits.
#pragma once

#include <kj/array.h>

#include "shim/engine/cgroup-hierarchies.h"
#include "shim/engine/cgroup-view.h"
#include "shim/engine/pid-plan.h"
#include "shim/engine/report.h"
#include "shim/engine/user-namespace.h"
#include "shim/spec.capnp.h"

namespace belay::shim {

class RootfsMounts {
 public:
  // Laid out before the clone. `spec` must stay valid.
  RootfsMounts(ContainerSpec::Reader spec, const CgroupHierarchies& hierarchies, PidPlan pids,
               bool hostIpc, PodUsers users);

  // Opens every source on the host as a detached mount; this is what may hang on a dead server. It
  // comes before the mount namespace is cut off from the host's, because a bidirectional mount must
  // come from a shared one. The working directory is the pod's.
  void openSources(const Reporter& reporter);

  // Attaches in order all but /proc and what goes below it, for which it only makes the places.
  void attachEarly(const Reporter& reporter, int root);

  // Attaches /proc and what goes below it, from inside the container's root. With a pid namespace
  // of its own the caller must be in it; else it need not, and must not be.
  void attachLate(const Reporter& reporter);

  // Descriptors that attachLate will need.
  kj::ArrayPtr<const int> lateTrees() const { return trees; }

  // True if a tmpfs of ours is at /dev.
  bool hasOwnDev() const;

 private:
  capnp::List<Mount>::Reader mounts;
  CgroupView cgroups;

  // One for each mount: a detached source to copy, or -1. The last one is copyHostsProc's.
  kj::Array<int> trees;

  PidPlan pids;
  bool hostIpc;
  PodUsers users;

  bool isLate(Mount::Reader mount) const;
  void attachOne(const Reporter& reporter, Mount::Reader mount, int& tree, int root);
};

}  // namespace belay::shim
