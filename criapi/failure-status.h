// What a failure inside belayd tells a CRI client: the one place where exceptions become gRPC
// statuses.
#pragma once

#include <kj/exception.h>

#include "criapi/grpc/status.h"

namespace belay::criapi {

// Code and sentence of a failure made by snapshot::failure(), or what codeOf() makes of any other
// exception. For grpc::Options::statusOf.
grpc::Status statusOfFailure(const kj::Exception& exception);

}  // namespace belay::criapi
