// The named FIFOs of a container's standard streams, and how each end is opened.
//
// Named, because the container's output ends are opened read-write: it lives and loses nothing even
// when nobody reads for a while, and whoever comes later (a successor of the shim) opens them
// again.
#pragma once

#include <kj/io.h>
#include <kj/string.h>
#include <sys/types.h>

namespace belay::shim {

// Makes a FIFO with mode 0600; one that is there is kept.
void makeFifo(int dirFd, kj::StringPtr name);

// Gives it to the container's user, who may reopen it as /dev/stdout.
void giveFifo(int dirFd, kj::StringPtr name, uid_t uid, gid_t gid);

// The container's end of an output: read-write, blocking.
kj::AutoCloseFd openOutputEnd(int dirFd, kj::StringPtr name);

// The container's end of its input: read-only (a read-write end would never see EOF), blocking.
kj::AutoCloseFd openInputEnd(int dirFd, kj::StringPtr name);

// Our end of an output: read-only, non-blocking.
kj::AutoCloseFd openReader(int dirFd, kj::StringPtr name);

// Our end of the input: write-only, non-blocking. The container's end must be open.
kj::AutoCloseFd openWriter(int dirFd, kj::StringPtr name);

// The same; null when the container's end is closed.
kj::AutoCloseFd tryOpenWriter(int dirFd, kj::StringPtr name);

}  // namespace belay::shim
