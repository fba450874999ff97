// What every function of the engine is given: the event loop it may wait on and the places it works
// in. The shim's main makes one and keeps it as long as anything of the engine is in use.
#pragma once

#include <kj/async-unix.h>
#include <kj/io.h>
#include <kj/timer.h>

#include "shim/engine/cgroup-hierarchies.h"

namespace belay::shim {

struct EngineContext {
  kj::UnixEventPort& eventPort;
  kj::Timer& timer;
  const CgroupHierarchies& cgroups;

  // The pod's directory (/run/belay/pods/ID), opened O_PATH or O_RDONLY in the host's mount
  // namespace. The engine makes "ns/" and "shm" in it, and mounts rootfs upon it inside the set-up
  // child's mount namespace.
  int podDirFd;
};

// To be called once before any of the engine's children is made: makes this process non-dumpable,
// so that no container can look into the children that are still copies of it, and wipes its
// environment (a proxy's password, say), so that one that may trace does not find it there.
void hardenEngineProcess();

}  // namespace belay::shim
