// The identity of this boot of the machine. What was written down under another one speaks of no
// process, mount or namespace that is still there, and of files that may never have reached the
// disk.
#pragma once

#include <kj/string.h>

namespace belay::snapshot {

// The kernel's random boot_id (random(4)), a UUID.
kj::String bootId();

}  // namespace belay::snapshot
