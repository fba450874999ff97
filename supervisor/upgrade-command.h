// "belayd upgrade": the operator's side of an upgrade.
#pragma once

#include <kj/string.h>

namespace belay::supervisor {

// Asks the belayd whose state is in `state` to become `program` (absolute), or what is at its own
// path when that is empty. Returns a sentence with both versions once the new one serves. Throws
// what the running belayd says, which then goes on; UNAVAILABLE when none runs.
kj::String askForUpgrade(kj::StringPtr state, kj::StringPtr program);

}  // namespace belay::supervisor
