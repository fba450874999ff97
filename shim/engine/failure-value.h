// What went wrong, as a value: the C++ twin of the Failure struct of shim.capnp.
#pragma once

#include <kj/string.h>

#include "shim/shim.capnp.h"

namespace belay::shim {

struct FailureValue {
  Failure::Code code = Failure::Code::INTERNAL;

  // What was being done, as a verb phrase: "mount the rootfs".
  kj::String step;

  // What it was done to; may be empty.
  kj::String object;

  // errno, 0 when no system call failed.
  int error = 0;

  // One whole sentence for a person.
  kj::String message;
};

// Builds a failure whose message is "Cannot <step> <object>: <errno's text>[ (<detail>)]." and
// whose code follows from errno: ENOENT is notFound, EMFILE and its kind resourceExhausted, EINVAL
// and its kind invalidArgument, the rest internal. `detail` is what else is known, the kernel's own
// words for example; it may be empty.
FailureValue systemFailure(kj::StringPtr step, kj::StringPtr object, int error,
                           kj::StringPtr detail = nullptr);

// A failure that no system call reported: "Cannot <step> <object>: <reason>."
FailureValue plainFailure(Failure::Code code, kj::StringPtr step, kj::StringPtr object,
                          kj::StringPtr reason);

// Fills the RPC struct.
void writeFailure(const FailureValue& failure, Failure::Builder builder);

}  // namespace belay::shim
