// Whether this machine can give pods user namespaces of their own.
#pragma once

#include <kj/async-unix.h>
#include <kj/string.h>

#include "shim/engine/failure-value.h"

namespace belay::shim {

// Does once what such a pod needs: makes and maps a user namespace, mounts an overlay of id-mapped
// layers from `folder`'s file system in a mount namespace of a child's, writes to it, and maps a
// tmpfs, as which the kubelet brings secrets. What it makes in `folder`, which is to be where
// containers' upper folders are, it takes away. Null if all went well. Waits for its children
// without an event loop's turn: for a process that does nothing else.
kj::Maybe<FailureValue> tryUserNamespaces(kj::StringPtr folder);

}  // namespace belay::shim
