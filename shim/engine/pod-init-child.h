// The two children that make the pod's first process; container.h says why there are two.
#pragma once

#include "shim/engine/cgroup.h"
#include "shim/engine/namespaces.h"

namespace belay::shim {

// All that the children need, laid out before the clone: after it nothing is allocated.
struct PodInitPlan {
  Cgroup::Joining joining;
  const PodNamespaces& namespaces;
  int podDirFd;

  // A sealed memory file.
  int program;
};

// Stage A: never returns, and never unwinds into its parent's frames.
[[noreturn]] void runPodInitChild(PodInitPlan& plan, int reportSocket);

}  // namespace belay::shim
