// The shim's own binary, out of its containers' reach.
#pragma once

namespace belay::shim {

// Executes this program anew, with the same arguments, from a read-only mount of its file; returns
// if it runs from one already. Children that are still copies of the shim show in their container's
// /proc, and who may trace there gets at the file by /proc/PID/exe. While a shim runs it cannot be
// written to; with the flag on the mount, which stays with such a descriptor for ever, it cannot be
// afterwards either (CVE-2019-5736).
//
// Returns false where it cannot be done (mount_setattr(2), Linux 5.12; CAP_SYS_ADMIN), with errno.
bool runFromReadOnlyMount(char** argv);

}  // namespace belay::shim
