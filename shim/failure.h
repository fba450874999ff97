// Failures on their way to the supervisor: copies, and exceptions turned into values.
#pragma once

#include <kj/async.h>
#include <kj/exception.h>

#include "shim/engine/failure-value.h"

namespace belay::shim {

FailureValue copyFailure(const FailureValue& failure);

// An exception's own words. What is short (memory, descriptors, space) is resourceExhausted,
// anything else has the given code: "internal" where nobody foresaw it.
FailureValue failureOf(kj::StringPtr step, kj::StringPtr object, const kj::Exception& exception,
                       Failure::Code code = Failure::Code::INTERNAL);

// Answers a call: done, or failed.
void writeOutcome(const kj::Maybe<FailureValue>& failure, Outcome::Builder outcome);

// Turns a rejection into a failure value.
kj::Promise<kj::Maybe<FailureValue>> asFailure(kj::Promise<kj::Maybe<FailureValue>> promise,
                                               kj::StringPtr step, kj::StringPtr object);

}  // namespace belay::shim
