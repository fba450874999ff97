// What the program that answers for a container's system calls (SCMP_ACT_NOTIFY) is told when it
// gets the filter's descriptor.
#pragma once

#include <kj/string.h>

#include "shim/spec.capnp.h"
#include "supervisor/spec/seccomp.h"

namespace belay::supervisor {

// Fills in the filter's listener, if it has one: the "container process state" of the OCI runtime
// specification (config-linux.md), with gaps where the shim puts what only it knows. `folder` is
// where the container's own files are on the host.
void fillSeccompListener(shim::ProcessSpec::Builder process, const SeccompFilter& filter,
                         kj::StringPtr containerId, kj::StringPtr folder);

}  // namespace belay::supervisor
