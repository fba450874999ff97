// What a failure inside belayd tells a CRI client.
#include "criapi/failure-status.h"

#include "snapshot/failure.h"

namespace belay::criapi {
namespace {

grpc::Code wireCode(snapshot::Code code) {
  switch (code) {
    case snapshot::Code::INVALID_ARGUMENT:
      return grpc::Code::INVALID_ARGUMENT;
    case snapshot::Code::NOT_FOUND:
      return grpc::Code::NOT_FOUND;
    case snapshot::Code::ALREADY_EXISTS:
      return grpc::Code::ALREADY_EXISTS;
    case snapshot::Code::FAILED_PRECONDITION:
      return grpc::Code::FAILED_PRECONDITION;
    case snapshot::Code::UNAVAILABLE:
      return grpc::Code::UNAVAILABLE;
    case snapshot::Code::UNAUTHENTICATED:
      return grpc::Code::UNAUTHENTICATED;
    case snapshot::Code::RESOURCE_EXHAUSTED:
      return grpc::Code::RESOURCE_EXHAUSTED;
    case snapshot::Code::DEADLINE_EXCEEDED:
      return grpc::Code::DEADLINE_EXCEEDED;
    case snapshot::Code::UNIMPLEMENTED:
      return grpc::Code::UNIMPLEMENTED;
    case snapshot::Code::INTERNAL:
      return grpc::Code::INTERNAL;
  }
  return grpc::Code::INTERNAL;
}

}  // namespace

grpc::Status statusOfFailure(const kj::Exception& exception) {
  return {wireCode(snapshot::codeOf(exception)), kj::str(snapshot::messageOf(exception))};
}

}  // namespace belay::criapi
