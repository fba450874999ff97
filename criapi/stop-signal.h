// Signals between the CRI's enum, which names them, and Linux's numbers.
#pragma once

#include "criapi/cri.pb.h"
#include "criapi/field.h"

namespace belay::criapi {

// The signal's number; 0 for SIGNAL_RUNTIME_DEFAULT. Refuses numbers outside the enum.
int32_t signalNumber(runtime::v1::Signal signal, const Field& field);

// The name of a signal's number, the more usual one where it has two (SIGABRT, SIGCHLD, SIGIO).
// SIGNAL_RUNTIME_DEFAULT for 0 and for numbers the CRI has no name for.
runtime::v1::Signal signalOfNumber(int32_t number);

}  // namespace belay::criapi
