// The keeper of a cgroup: a process of a few pages that does nothing but be in it, for cgroups that
// their owner takes away when they are empty (systemd's scopes).
#pragma once

namespace belay::shim {

// Makes this process one. Who starts it chooses the cgroup, and kills it.
[[noreturn]] void becomeKeeper();

}  // namespace belay::shim
