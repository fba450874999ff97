// The one line by which a pipeline mode (hash, decompress, unpack) tells belayd how it went; the
// lines are described in pull.capnp.
#pragma once

#include <kj/function.h>
#include <kj/string.h>

namespace belay::snapshot {

// Runs `work` and writes the line it returns (none when null) to `reportFd`, or "failed SENTENCE"
// when it throws. Where `reportFd` is not open the line goes to stderr. Returns the exit status.
int reportOutcome(int reportFd, kj::Function<kj::Maybe<kj::String>()> work);

}  // namespace belay::snapshot
