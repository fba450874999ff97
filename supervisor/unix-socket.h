// belayd's own Unix sockets: whose path may be long, whose file may be a dead daemon's, and which
// only root, or its group, may use.
#pragma once

#include <kj/io.h>
#include <kj/string.h>
#include <sys/types.h>

namespace belay::supervisor {

// A listening stream socket at `path` (absolute; its folder is made if absent). A file left by a
// dead daemon is replaced; FAILED_PRECONDITION when somebody listens there, or when something else
// than a socket is in the way.
kj::AutoCloseFd listenOnUnixSocket(kj::StringPtr path, mode_t mode);

// A connected stream socket. UNAVAILABLE, naming the path, when nobody listens there.
kj::AutoCloseFd connectToUnixSocket(kj::StringPtr path);

}  // namespace belay::supervisor
