// The two children that bring a process into a running container; container.h says why there are
// two.
#pragma once

#include "shim/engine/cgroup.h"
#include "shim/engine/container.h"
#include "shim/engine/enter.h"
#include "shim/engine/process-plan.h"
#include "shim/spec.capnp.h"

namespace belay::shim {

// All that the children need, laid out before the clone: after it nothing is allocated.
struct EnterPlan {
  ProcessPlan process;
  Cgroup::Joining joining;
  const ChildStdio& stdio;
  EnterTarget target;
};

// Stage A: never returns, and never unwinds into its parent's frames.
[[noreturn]] void runEnterChild(EnterPlan& plan, int reportSocket);

}  // namespace belay::shim
