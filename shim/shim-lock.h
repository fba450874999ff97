// The lock that says that a pod has a shim.
#pragma once

#include <kj/io.h>
#include <kj/one-of.h>
#include <sys/types.h>

namespace belay::shim {

// Takes the lock on the file "lock" of the pod's directory, for as long as this process lives: a
// record lock (fcntl(2)), since those are not passed on to children and say who has them, also
// while a killed owner hangs in the kernel. Gives the owner's pid when there is one.
//
// The descriptor has to stay open: closing any of the process's for that file lets go of the lock.
kj::OneOf<kj::AutoCloseFd, pid_t> lockPod(int podDirFd);

// Takes the file away, for a pod that is removed, or never came. For the lock's owner, at its end.
void removeLock(int podDirFd);

}  // namespace belay::shim
