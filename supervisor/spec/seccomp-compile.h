// From a seccomp profile to the kernel's classic BPF, by libseccomp.
#pragma once

#include <kj/array.h>

#include "supervisor/spec/seccomp-profile.h"

namespace belay::supervisor {

// The program as bytes of struct sock_filter[]. Where the profile's default refuses with an errno,
// calls with numbers above every one that libseccomp knows get ENOSYS instead: C libraries try new
// calls first and fall back on ENOSYS, but take EPERM for an answer. INVALID_ARGUMENT when
// libseccomp or the kernel's limit (BPF_MAXINSNS) will not have it.
kj::Array<kj::byte> compileSeccomp(const SeccompProfile& profile);

}  // namespace belay::supervisor
