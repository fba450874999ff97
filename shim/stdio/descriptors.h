// Small steps with descriptors that several parts of the shim take.
#pragma once

#include <kj/io.h>

namespace belay::shim {

// /dev/null; `flags` as of open(2), O_CLOEXEC is added.
kj::AutoCloseFd openNull(int flags);

// Another number for the same open file, close-on-exec.
kj::AutoCloseFd duplicate(int fd);

void setNonBlocking(int fd);

// A pipe, close-on-exec. Its ends are two open files: what whoever gets one of them does to its
// flags does not reach the other.
struct Pipe {
  kj::AutoCloseFd readEnd, writeEnd;
};
Pipe makePipe();

// Lets a pipe hold `bytes`, or as much as the machine's limits (/proc/sys/fs/pipe-max-size,
// pipe-user-pages-soft) allow, and gives what it holds then.
size_t growPipe(int fd, size_t bytes);

}  // namespace belay::shim
