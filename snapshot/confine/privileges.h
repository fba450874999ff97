// Giving up the user, the capabilities and the ways back to them.
#pragma once

#include <stdint.h>

namespace belay::snapshot {

// The user and group of a process that owns nothing ("nobody", "nogroup").
constexpr unsigned NOBODY = 65534;

// Bit mask of capabilities, 1 << CAP_X (linux/capability.h).
using CapabilityMask = uint64_t;

// Becomes NOBODY with no groups and keeps exactly `keep` in the effective and permitted sets; the
// bounding, inheritable and ambient sets are emptied. Without root only the capabilities are
// dropped. With `filesAsRoot` files are created as root's (fsuid and fsgid 0), which unpack needs
// to save a chown for nearly every file; signals and ptrace go by the real and effective uid,
// nobody's.
enum class FileOwner { NOBODY, ROOT };
void dropPrivileges(CapabilityMask keep, FileOwner owner);

// no_new_privs, not dumpable, no core file, bounded memory. Last of all steps that concern
// credentials, since a change of credentials undoes some of it.
void sealProcess(uint64_t memoryBytes);

// Killed when belayd, which started the process, ends. After the credentials have changed, too.
void dieWithParent();

}  // namespace belay::snapshot
