// Which file descriptors a process has.
#pragma once

#include <cstddef>

namespace belay::sys {

// Closes every descriptor but the given ones, which it sorts; negative ones and repeats are
// ignored. Returns 0, or -1 with errno. Async-signal-safe. close_range(2), Linux 5.9.
int closeAllBut(int* keep, size_t count);

// A memory file that can be sealed, close-on-exec. `name` shows in /proc/PID/fd only.
// memfd_create(2).
int newMemoryFile(const char* name);

// The same for a program that is to be run from it, also where the machine's policy
// (vm.memfd_noexec, Linux 6.3) makes other memory files not executable.
int newExecutableMemoryFile(const char* name);

// Forbids every further change of a memory file: size and content. Returns 0, or -1 with errno.
int sealMemoryFile(int fd);

}  // namespace belay::sys
