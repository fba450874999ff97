// belayd as a process: what it takes from the machine before it serves.
#pragma once

#include <kj/io.h>
#include <kj/string.h>

namespace belay::supervisor {

// Makes the folder of what survives a reboot, if it is absent, and locks it until this process
// ends: database and store have one user. Throws FAILED_PRECONDITION when there is another.
kj::AutoCloseFd lockRoot(kj::StringPtr root);

// A node full of pods needs some ten descriptors for each container.
void raiseFileLimit();

}  // namespace belay::supervisor
