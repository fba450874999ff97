// Shim.portForward: connections into the pod's network namespace for one streaming session.
#pragma once

#include <kj/async.h>
#include <kj/io.h>

#include "shim/shim-context.h"

namespace belay::shim {

// Dials for the session on `socket` until it hangs up. `netns` is the pod's network namespace,
// borrowed, negative for the host's.
kj::Promise<void> servePortForward(ShimContext& context, kj::AutoCloseFd socket, int netns);

}  // namespace belay::shim
