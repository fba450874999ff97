// What a pod uses as a whole: its cgroup, and its own network's interfaces.
#pragma once

#include <kj/common.h>

#include "shim/engine/cgroup-usage.h"
#include "shim/engine/network-usage.h"
#include "shim/shim.capnp.h"

namespace belay::shim {

class PodUsageReader {
 public:
  // `netns` is the pod's own network namespace, negative if it has none; borrowed, as the
  // hierarchies are. `sinceNs` is when the pod was made.
  PodUsageReader(const CgroupHierarchies& hierarchies, kj::StringPtr cgroupPath, int netns,
                 int64_t sinceNs);

  // Interfaces that the kernel does not tell of are left out, with one line in the log for all
  // times.
  void read(PodUsage::Builder usage);

 private:
  CgroupUsageReader cgroup;
  kj::Maybe<NetworkUsageReader> network;
};

}  // namespace belay::shim
