// What went wrong, as a value.
#include "shim/engine/failure-value.h"

#include <errno.h>

#include <cstring>

namespace belay::shim {
namespace {

Failure::Code codeOfErrno(int error) {
  switch (error) {
    case ENOENT:
    case ESRCH:
      return Failure::Code::NOT_FOUND;
    case EEXIST:
      return Failure::Code::ALREADY_EXISTS;
    case EINVAL:
    case ENOTDIR:
    case EISDIR:
    case ELOOP:
    case ENAMETOOLONG:
    case E2BIG:
    case ERANGE:
      return Failure::Code::INVALID_ARGUMENT;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOSPC:
    case EDQUOT:
    case EAGAIN:
      return Failure::Code::RESOURCE_EXHAUSTED;
    case EACCES:
    case ENOEXEC:
    case EBUSY:
    case ETXTBSY:
    case EROFS:
      return Failure::Code::FAILED_PRECONDITION;
    case ETIMEDOUT:
      return Failure::Code::DEADLINE_EXCEEDED;
    default:
      return Failure::Code::INTERNAL;
  }
}

kj::String sentence(kj::StringPtr step, kj::StringPtr object, kj::StringPtr reason,
                    kj::StringPtr detail) {
  return kj::str("Cannot ", step, object.size() > 0 ? " " : "", object, ": ", reason,
                 detail.size() > 0 ? kj::str(" (", detail, ")") : kj::String(), ".");
}

}  // namespace

FailureValue systemFailure(kj::StringPtr step, kj::StringPtr object, int error,
                           kj::StringPtr detail) {
  return {
      .code = codeOfErrno(error),
      .step = kj::str(step),
      .object = kj::str(object),
      .error = error,
      .message = sentence(step, object, kj::StringPtr(strerror(error)), detail),
  };
}

FailureValue plainFailure(Failure::Code code, kj::StringPtr step, kj::StringPtr object,
                          kj::StringPtr reason) {
  return {
      .code = code,
      .step = kj::str(step),
      .object = kj::str(object),
      .error = 0,
      .message = sentence(step, object, reason, nullptr),
  };
}

void writeFailure(const FailureValue& failure, Failure::Builder builder) {
  builder.setCode(failure.code);
  builder.setStep(failure.step);
  builder.setObject(failure.object);
  builder.setErrno(failure.error);
  builder.setMessage(failure.message);
}

}  // namespace belay::shim
