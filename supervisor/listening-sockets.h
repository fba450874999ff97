// The sockets that belayd listens on, when they were not made by itself: systemd's socket units
// make them before belayd runs, and a belayd that is replaced leaves them to the next.
#pragma once

#include <kj/io.h>
#include <kj/vector.h>

#include "supervisor/config/config.h"
#include "supervisor/service-manager.h"

namespace belay::supervisor {

struct ListeningSockets {
  // Each null unless it came from outside. They do not block.
  kj::Maybe<kj::AutoCloseFd> cri;
  kj::Maybe<kj::AutoCloseFd> admin;
  kj::Maybe<kj::AutoCloseFd> streaming;
};

// Takes the descriptors named "cri", "admin" and "streaming" out of `given`. Throws
// FAILED_PRECONDITION, naming it, when one is not what its name says (a listening stream socket,
// Unix or, for streaming, at `config.streamingAddress`), or when a name comes twice.
ListeningSockets takeListeningSockets(kj::Vector<GivenDescriptor>& given, const Config& config);

}  // namespace belay::supervisor
