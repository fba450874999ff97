// Paths inside a container's rootfs, while the set-up child still sees the host: every one is
// resolved with the rootfs as its "/", whatever links an image has laid out. For children after the
// clone: allocates nothing, reports failures and exits.
#pragma once

#include "shim/engine/report.h"

namespace belay::shim {

enum class MountPointKind { DIRECTORY, FILE };

// Whether symbolic links inside the rootfs are followed. Where the kernel's own file systems go
// they are not: a /proc that is a link would put the real one elsewhere, and writes to /proc into a
// file of the image's choice (CVE-2019-16884 and its kind).
enum class Links { FOLLOW, REFUSE };

// REFUSE for /proc, /sys and /dev and everything below them.
Links linksFor(const char* destination);

// True if `path` is `directory` or below it. Both are absolute and lexically clean.
bool isAtOrBelow(const char* path, const char* directory);

// Opens (O_PATH) what is at `path`, making it if it is absent: missing directories with mode 0755,
// at the end a directory or an empty file. A dangling link is followed to where it points inside
// the rootfs, and that is made.
int openOrMake(const Reporter& reporter, int root, const char* path, MountPointKind kind,
               Links links);

// Splits off the last component: opens (making it) the directory that is to hold it. `name` points
// into `path`.
int openOrMakeParent(const Reporter& reporter, int root, const char* path, Links links,
                     const char*& name);

}  // namespace belay::shim
