// The two children that make a container; container.h says why there are two.
#pragma once

#include <sys/stat.h>

#include "shim/engine/cgroup.h"
#include "shim/engine/container.h"
#include "shim/engine/pid-plan.h"
#include "shim/engine/process-plan.h"
#include "shim/engine/report.h"
#include "shim/engine/rootfs-mounts.h"
#include "shim/spec.capnp.h"

namespace belay::shim {

// All that the children need, laid out before the clone: after it nothing is allocated.
struct ContainerPlan {
  ContainerSpec::Reader spec;
  ProcessPlan process;
  RootfsMounts mounts;
  Cgroup::Joining joining;
  const PodNamespaces& namespaces;
  const ChildStdio& stdio;
  int podDirFd;
  PidPlan pids;
};

// Throws unless the streams are open and above 2, where the children's shuffling needs them.
void checkStdio(const ChildStdio& stdio);

// What a MADE message says and brings. `connection` and `ptyMaster` are null unless there is one.
struct MadeChild {
  pid_t pid;
  kj::AutoCloseFd pidfd;
  UserIds user;
  kj::AutoCloseFd ptyMaster;
  kj::AutoCloseFd connection;
};
// Throws unless it is from the process `stageA`, who alone may tell.
MadeChild takeMade(ReportReceiver::Message& message, pid_t stageA);

// Stage A: never returns, and never unwinds into its parent's frames.
[[noreturn]] void runContainerChild(ContainerPlan& plan, int reportSocket);

}  // namespace belay::shim
