// systemd as the maker of cgroups: on a machine that it runs, the cgroup tree is its own, and a
// program that wants a part of it asks for a unit with Delegate= (systemd's "Control Group APIs and
// Delegation").
#pragma once

#include <kj/string.h>
#include <kj/time.h>
#include <sys/types.h>

namespace belay::supervisor {

struct ScopeRequest {
  kj::String name;  // "belay-ID.scope"
  kj::String
      slice;  // "kubepods-podUID.slice"; systemd makes it and its parents if they are missing
  kj::String description;
  pid_t process;  // moves into the scope; a scope without one is refused, and one left by all ends
};

// Whether systemd is this machine's init.
bool systemdRunsThisMachine();

// Asks systemd by D-Bus for a transient scope, whose cgroup and all below is left to the caller
// (Delegate=yes), without limits of its own, and waits until it is there. Nothing of it stays when
// its last process has gone. Blocks for at most `limit`: for a thread of its own.
//
// Throws UNAVAILABLE when D-Bus or systemd does not answer, DEADLINE_EXCEEDED after the limit, and
// INTERNAL with systemd's own words when it refuses.
void startScope(const ScopeRequest& request, kj::Duration limit);

}  // namespace belay::supervisor
