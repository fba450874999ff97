// Implementation of failure.h.
#include "shim/failure.h"

namespace belay::shim {

FailureValue copyFailure(const FailureValue& failure) {
  return {
      .code = failure.code,
      .step = kj::str(failure.step),
      .object = kj::str(failure.object),
      .error = failure.error,
      .message = kj::str(failure.message),
  };
}

FailureValue failureOf(kj::StringPtr step, kj::StringPtr object, const kj::Exception& exception,
                       Failure::Code code) {
  if (exception.getType() == kj::Exception::Type::OVERLOADED) {
    code = Failure::Code::RESOURCE_EXHAUSTED;
  }
  return plainFailure(code, step, object, exception.getDescription());
}

void writeOutcome(const kj::Maybe<FailureValue>& failure, Outcome::Builder outcome) {
  KJ_IF_MAYBE (value, failure) {
    writeFailure(*value, outcome.initFailed());
  } else {
    outcome.setDone();
  }
}

kj::Promise<kj::Maybe<FailureValue>> asFailure(kj::Promise<kj::Maybe<FailureValue>> promise,
                                               kj::StringPtr step, kj::StringPtr object) {
  return promise.catch_([step = kj::str(step), object = kj::str(object)](
                            kj::Exception&& exception) -> kj::Maybe<FailureValue> {
    return failureOf(step, object, exception);
  });
}

}  // namespace belay::shim
