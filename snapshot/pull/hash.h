// `belay-pull hash`: the witness. It parses nothing, so nothing in the bytes can turn it; what it
// says of a blob or a layer is what belayd believes.
#pragma once

namespace belay::snapshot {

// Hashes fd 0 to its end, copies it to fd 1 where that is wanted, reports on fd 3 (pull.capnp).
// Returns the exit status.
int hashMain();

}  // namespace belay::snapshot
