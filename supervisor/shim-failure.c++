// See shim-failure.h.
#include "supervisor/shim-failure.h"

#include "snapshot/failure.h"

namespace belay::supervisor {

using snapshot::Code;

namespace {

Code codeOf(shim::Failure::Code code) {
  switch (code) {
    case shim::Failure::Code::INVALID_ARGUMENT:
      return Code::INVALID_ARGUMENT;
    case shim::Failure::Code::NOT_FOUND:
      return Code::NOT_FOUND;
    case shim::Failure::Code::ALREADY_EXISTS:
      return Code::ALREADY_EXISTS;
    case shim::Failure::Code::FAILED_PRECONDITION:
      return Code::FAILED_PRECONDITION;
    case shim::Failure::Code::DEADLINE_EXCEEDED:
      return Code::DEADLINE_EXCEEDED;
    case shim::Failure::Code::RESOURCE_EXHAUSTED:
      return Code::RESOURCE_EXHAUSTED;
    case shim::Failure::Code::INTERNAL:
      break;
  }
  // Also what a newer shim may say.
  return Code::INTERNAL;
}

}  // namespace

kj::Exception exceptionOf(shim::Failure::Reader failure) {
  if (failure.hasMessage() && failure.getMessage().size() > 0) {
    return snapshot::failure(codeOf(failure.getCode()), failure.getMessage());
  }
  return snapshot::failure(codeOf(failure.getCode()),
                           kj::str("cannot ", failure.getStep(), " (", failure.getObject(), ")"));
}

void requireDone(shim::Outcome::Reader outcome) {
  if (outcome.isFailed()) kj::throwFatalException(exceptionOf(outcome.getFailed()));
}

bool isNotFound(shim::Outcome::Reader outcome) {
  return outcome.isFailed() && outcome.getFailed().getCode() == shim::Failure::Code::NOT_FOUND;
}

bool isLostShim(const kj::Exception& exception) {
  return exception.getType() == kj::Exception::Type::DISCONNECTED;
}

}  // namespace belay::supervisor
