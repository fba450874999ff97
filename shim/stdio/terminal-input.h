// What attached clients type, on its way to a container's terminal.
#pragma once

#include <kj/async-unix.h>
#include <kj/io.h>

#include "shim/stdio/work.h"

namespace belay::shim {

// Copies from a client's pipe to the pty master, as a piece of work as long as it holds bytes,
// until the client closes the pipe or the terminal has gone. The client does not get the master
// itself: it could read the container's output away from the log, or make the shim's reads block.
// `master` is another number of the master's, for this alone; neither blocks.
kj::Promise<void> copyToTerminal(kj::UnixEventPort& port, WorkCounter& work, kj::AutoCloseFd pipe,
                                 kj::AutoCloseFd master);

}  // namespace belay::shim
