// System call filters of processes that read strangers' bytes, built with libseccomp.
#pragma once

#include <kj/array.h>

#include <initializer_list>

namespace belay::snapshot {

using Syscalls = std::initializer_list<const char*>;

// Installs a filter in which only the calls of `lists` succeed. LIBRARY_SYSCALLS fail with EPERM;
// any other kills the process: a parser that makes one has been taken over. no_new_privs must be
// set. Throws when the kernel has no seccomp.
void allowOnly(std::initializer_list<Syscalls> lists);

// Installs a filter in which the calls of `list` fail with EPERM and all others work.
void deny(Syscalls list);

// Memory, exit and what the C library does by itself.
extern const Syscalls BASE_SYSCALLS;
// Reading and writing open descriptors.
extern const Syscalls PIPE_SYSCALLS;
// KJ's event loop and a Unix socket that carries descriptors.
extern const Syscalls RPC_SYSCALLS;
// Making a file tree below a directory descriptor.
extern const Syscalls FILE_TREE_SYSCALLS;
// What the C library and others ask for lazily and can do without: an unwinder to load, a locale,
// the number of CPUs. Harmless to ask, and different from one release to the next.
extern const Syscalls LIBRARY_SYSCALLS;
// What no HTTP client calls.
extern const Syscalls FOREIGN_SYSCALLS;

}  // namespace belay::snapshot
