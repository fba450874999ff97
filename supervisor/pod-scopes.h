// Pods' cgroups where systemd makes them: each pod has a scope in the slice that its client names,
// and its containers' cgroups lie in that scope, which systemd leaves to belay.
//
// One scope for a pod and not one for each container: systemd takes a scope's cgroup away in the
// moment its last process ends, and with it the count of OOM kills that says why a container ended.
// A small process, the keeper, stays in the pod's scope, so that it lives as long as the pod and a
// container's cgroup goes when belay has read it.
//
// belayd asks systemd, before it asks the shim: the shim is static and links no D-Bus.
#pragma once

#include <kj/async.h>
#include <kj/string.h>
#include <kj/timer.h>

#include "snapshot/sys/child.h"
#include "supervisor/cgroups.h"

namespace belay::supervisor {

class PodScopes {
 public:
  // `shim` is the path of belay-shim, which can be a keeper, too. References outlive this object.
  PodScopes(kj::StringPtr shim, snapshot::Children& children, Cgroups& cgroups, kj::Timer& timer)
      : shim(kj::str(shim)), children(children), cgroups(cgroups), timer(timer) {}
  KJ_DISALLOW_COPY_AND_MOVE(PodScopes);

  // Throws FAILED_PRECONDITION unless systemd runs this machine, on cgroup v2 alone.
  void requireSystemd() const;

  // Makes the scope whose cgroup is `path` (spec/cgroup-path.h), with its keeper. One that is there
  // and kept already is left alone. Fails as startScope() does. A promise that is dropped leaves
  // what Cgroups::destroy() and removeHome() take away.
  kj::Promise<void> ensure(kj::StringPtr podId, kj::StringPtr path);

  // Kills what is left in the scope, and returns when it is gone. Absent is fine. Fails as
  // Cgroups::destroy() does.
  kj::Promise<void> end(kj::StringPtr path);

 private:
  kj::String shim;
  snapshot::Children& children;
  Cgroups& cgroups;
  kj::Timer& timer;

  kj::Own<snapshot::Child> startKeeper(kj::StringPtr podId);
};

}  // namespace belay::supervisor
