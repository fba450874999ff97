// Whether a mount source can do what the propagation of the mount promises (mount_namespaces(7)).
#pragma once

#include "shim/engine/report.h"
#include "shim/spec.capnp.h"

namespace belay::shim {

// SHARED: what the container mounts is to reach the host, for which the mount that `place` is on
// must be shared; SLAVE: what the host mounts is to reach the container, for which it must be
// shared or a slave itself. Anything else would silently be private, so that it is refused
// (failedPrecondition), as other runtimes do. `place` is what `source` names, opened O_PATH, in
// this process's mount namespace, which must not be cut off from the host's yet. For children after
// the clone: allocates nothing, reports failures and exits.
void requirePropagation(const Reporter& reporter, Mount::Propagation propagation,
                        const char* source, int place);

}  // namespace belay::shim
