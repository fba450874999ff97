// Whether this node can give pods user namespaces of their own: tried, not assumed.
#pragma once

#include <kj/async.h>
#include <kj/string.h>
#include <kj/timer.h>

#include "snapshot/sys/child.h"

namespace belay::supervisor {

// Lets the shim's program try it in the folder where containers' upper folders are made
// (belay-shim --try-user-namespaces). Empty if pods can have user namespaces here, else why not, a
// sentence. Never fails: a program that cannot be run, or takes long, is a reason as well.
kj::Promise<kj::String> findUserNamespaceFault(snapshot::Children& children, kj::Timer& timer,
                                               kj::StringPtr shimProgram, kj::String folder);

}  // namespace belay::supervisor
