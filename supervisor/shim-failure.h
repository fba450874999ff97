// From what a shim answers (shim.capnp's Failure and Outcome) to what belayd throws.
#pragma once

#include <kj/exception.h>

#include "shim/shim.capnp.h"

namespace belay::supervisor {

// The failure with its code and sentence.
kj::Exception exceptionOf(shim::Failure::Reader failure);

// Throws unless the outcome is `done`.
void requireDone(shim::Outcome::Reader outcome);

// The shim says that there is no such thing.
bool isNotFound(shim::Outcome::Reader outcome);

// True for a failure of the connection or the shim itself, not of what it was asked to do.
bool isLostShim(const kj::Exception& exception);

}  // namespace belay::supervisor
