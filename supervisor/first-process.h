// The first process of a container whose shim is dead: belayd reaches it by itself then.
#pragma once

#include <kj/io.h>

#include "supervisor/inventory.h"

namespace belay::supervisor {

// Its pidfd: the duplicate that the shim handed out, or by its pid if the process of that number is
// in the container's cgroup. Null when it is gone or was never started.
kj::Maybe<kj::AutoCloseFd> openFirstProcess(const HeldDescriptors& held, Container& container);

// False when the process has exited already.
bool signalProcess(int pidfd, int signal);

// belayd is a subreaper: orphans of a shim that it started itself are its children.
bool isOurChild(pid_t pid);

}  // namespace belay::supervisor
