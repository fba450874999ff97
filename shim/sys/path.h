// Opening paths that a stranger has laid out: openat2(2), which the C library does not wrap.
#pragma once

#include <linux/openat2.h>
#include <sys/types.h>

#include <cstdint>

namespace belay::sys {

// Opens `path` as if `root` were "/": neither "..", nor symbolic links, nor an absolute path leave
// it. Magic links (/proc/PID/fd/N and their kind) are refused. `flags` as of open(2), always with
// O_CLOEXEC added; `resolve` adds further RESOLVE_* restrictions. Returns the descriptor or -1 with
// errno. Retries the EAGAIN that a rename or a mount elsewhere on the machine causes.
int openInRoot(int root, const char* path, uint64_t flags, mode_t mode = 0, uint64_t resolve = 0);

// The same with RESOLVE_BENEATH: an absolute path, or one that leaves `directory`, is an error.
int openBeneath(int directory, const char* path, uint64_t flags, mode_t mode = 0,
                uint64_t resolve = 0);

}  // namespace belay::sys
