// Shim.portForward: connections into the pod's network namespace for one streaming session.
#pragma once

#include <kj/async-unix.h>
#include <kj/async.h>
#include <kj/io.h>
#include <kj/timer.h>

namespace belay::shim {

// Dials for the session on `socket` until it hangs up. `netns` is the pod's network namespace,
// borrowed, negative for the host's.
kj::Promise<void> servePortForward(kj::UnixEventPort& port, kj::Timer& timer,
                                   kj::AutoCloseFd socket, int netns);

}  // namespace belay::shim
