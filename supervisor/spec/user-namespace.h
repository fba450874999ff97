// The user namespace that a pod may have for itself.
#pragma once

#include <kj/string.h>

#include "shim/spec.capnp.h"
#include "supervisor/model.capnp.h"

namespace belay::supervisor {

// Of a pod or a container. INVALID_ARGUMENT unless the mode is NODE and nothing is mapped, or it is
// POD and uids and gids have the same one mapping, of the container's id 0 and those after it, and
// neither pid nor IPC namespace is the host's: its root would own nothing there. So the kubelet
// asks, and other runtimes demand it.
void checkUserNamespace(NamespaceOptions::Reader options);

// INVALID_ARGUMENT unless the container asks for the user namespace that its pod has.
void checkSameUserNamespace(NamespaceOptions::Reader pod, NamespaceOptions::Reader container);

// FAILED_PRECONDITION if a namespace is asked for and `fault`, why this node can make none, is not
// empty.
void requireUserNamespaces(NamespaceOptions::Reader options, kj::StringPtr fault);

// Of options that were checked.
void fillIds(shim::IdMap::Builder ids, NamespaceOptions::Reader options);

// True if the mapping of a mount is that of the pod; false if it has none. Anything else is
// INVALID_ARGUMENT: nobody in the pod could use it. `field` is the mount's.
bool isMappedLikePod(Mount::Reader mount, kj::StringPtr field, shim::IdMap::Reader pod);

}  // namespace belay::supervisor
