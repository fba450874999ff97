// Awaiting what may fail or never come: coroutines cannot co_await inside catch, and what is undone
// after a failure is asynchronous, too.
#pragma once

#include <kj/async.h>
#include <kj/exception.h>
#include <kj/timer.h>

#include "snapshot/failure.h"

namespace belay::supervisor {

// Resolves with the failure, or with nothing.
inline kj::Promise<kj::Maybe<kj::Exception>> attempt(kj::Promise<void> promise) {
  return promise.then(
      []() -> kj::Maybe<kj::Exception> { return nullptr; },
      [](kj::Exception&& failure) -> kj::Maybe<kj::Exception> { return kj::mv(failure); });
}

// `promise`, or DEADLINE_EXCEEDED: "WHAT took longer than 20 s".
template <typename T>
kj::Promise<T> orLate(kj::Timer& timer, kj::Duration limit, kj::StringPtr what,
                      kj::Promise<T> promise) {
  auto late = timer.afterDelay(limit).then([limit, what]() -> kj::Promise<T> {
    snapshot::fail(snapshot::Code::DEADLINE_EXCEEDED, what, " took longer than ",
                   limit / kj::SECONDS, " s");
  });
  return promise.exclusiveJoin(kj::mv(late));
}

}  // namespace belay::supervisor
