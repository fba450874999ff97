// Starts shims: each in its pod's folder, in a cgroup home outside belayd's, with one end of a
// socket pair as fd 3.
#pragma once

#include <kj/io.h>
#include <kj/string.h>

#include "snapshot/sys/child.h"
#include "supervisor/cgroups.h"

namespace belay::supervisor {

class ShimLauncher {
 public:
  // `program` is the path of belay-shim. The others outlive this object.
  ShimLauncher(kj::StringPtr program, snapshot::Children& children, Cgroups& cgroups);
  KJ_DISALLOW_COPY_AND_MOVE(ShimLauncher);

  struct Started {
    kj::Own<snapshot::Child> child;  // lives on when dropped
    kj::AutoCloseFd socket;          // belayd's end of the shim's fd 3
    kj::AutoCloseFd pidfd;
  };

  // `podFolder` is the folder `path`, open. What the shim says on stderr goes to shim.log there.
  Started start(kj::StringPtr podId, kj::StringPtr path, int podFolder);

 private:
  kj::String program;
  snapshot::Children& children;
  Cgroups& cgroups;
};

// The end of a shim's own log, for the error of one that died; empty if there is none.
kj::String shimLogTail(int podFolder);

}  // namespace belay::supervisor
