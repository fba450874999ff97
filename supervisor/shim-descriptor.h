// File descriptors that a shim answers with.
#pragma once

#include <kj/async.h>
#include <kj/io.h>

#include "shim/shim.capnp.h"

namespace belay::supervisor {

// A duplicate of what came with the answer. Throws INTERNAL if it came without.
kj::Promise<kj::AutoCloseFd> receiveDescriptor(shim::File::Client file);

}  // namespace belay::supervisor
