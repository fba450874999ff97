// Hides and write-protects parts of /proc and /sys. For children after the clone, inside the
// container's root: allocates nothing, reports failures and exits.
#pragma once

#include "shim/engine/report.h"
#include "shim/spec.capnp.h"

namespace belay::shim {

// Covers each path: a file with the null device, a directory with an empty read-only tmpfs. A path
// that does not exist is passed over.
void maskPaths(const Reporter& reporter, capnp::List<capnp::Text>::Reader paths);

// Makes each path, with what is mounted below, read-only. A path that does not exist is passed
// over.
void makePathsReadonly(const Reporter& reporter, capnp::List<capnp::Text>::Reader paths);

}  // namespace belay::shim
