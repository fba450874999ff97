// A pidfd pinned to a file: where the kernel can (6.15 and later), whoever opens the file learns
// the exit status of a process even after everybody who knew it is gone.
#pragma once

#include <kj/io.h>
#include <kj/string.h>

namespace belay::shim {

// Mounts the pidfd upon a new file `name` of the directory. False where the kernel has no such
// thing; nothing is left then.
bool pinPidfd(int pidfd, int dirFd, kj::StringPtr name);

// The pidfd that is pinned there. Null if there is none.
kj::AutoCloseFd openPinnedPidfd(int dirFd, kj::StringPtr name);

// Takes the mount and the file away. Absent is fine.
void unpinPidfd(int dirFd, kj::StringPtr name);

}  // namespace belay::shim
