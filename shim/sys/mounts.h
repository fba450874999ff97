// The file-descriptor mount API (Linux 5.2 and later) in the forms the engine uses. Every function
// returns a descriptor or 0, or -1 with errno, and allocates nothing.
#pragma once

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <cstdint>

namespace belay::sys {

// A detached copy of the mount that holds `path`, with `path` as its root; with RECURSIVE also of
// everything mounted below. `directory` and `path` as of openat(2); "" is `directory` itself. The
// mount must be in the caller's mount namespace, or detached.
enum class Recursion { THIS_MOUNT, RECURSIVE };
int cloneTree(int directory, const char* path, Recursion recursion);

// Attaches a detached mount upon what `target` refers to.
int attach(int tree, int target);

// Sets and clears MOUNT_ATTR_* of a mount, and its propagation (MS_PRIVATE, MS_SLAVE, MS_SHARED, 0:
// as it is). Linux 5.12.
int changeMount(int tree, uint64_t set, uint64_t clear, uint64_t propagation, Recursion recursion);

// Shows the owners of a mount's files as the user namespace has them: what its id 0 owns on disk
// belongs to the host's id that 0 is mapped to. Only while the mount is detached, and once. EINVAL
// if its file system cannot. Linux 5.12, overlay's layers 5.19, tmpfs 6.3. mount_setattr(2).
int mapIds(int tree, int userNamespace);

// One key of a file system being made; a null value is a flag.
struct MountOption {
  const char* key;
  const char* value;
};

// Mounts a new file system of the given type, detached, with MOUNT_ATTR_* in `attributes`.
int newMount(const char* type, const MountOption* options, size_t count, uint64_t attributes);

// What the kernel says about the last failure on a descriptor of fsopen(2), as one line without its
// severity; empty if nothing.
void readMountLog(int context, char* text, size_t size);

// pivot_root(2).
int pivotRoot(const char* newRoot, const char* putOld);

}  // namespace belay::sys
