// Calls to a pod's shim that may be repeated, as most may (shim.capnp).
#pragma once

#include <kj/timer.h>

#include "supervisor/inventory.h"
#include "supervisor/shim-failure.h"

namespace belay::supervisor {

// Makes `call(shim::Shim::Client)`, which gives a promise, and makes it again with the pod's next
// shim when the present one is lost on the way: it was killed, or replaced. `call` may be made
// several times; what it refers to, `pod` and `timer` outlive the promise.
template <typename Call>
auto withShim(kj::Timer& timer, Pod& pod, Call call)
    -> decltype(call(kj::instance<shim::Shim::Client>())) {
  constexpr uint MAX_LOSSES = 20;
  constexpr kj::Duration PAUSE = 10 * kj::MILLISECONDS;
  for (uint losses = 1;; losses++) {
    auto shim = co_await pod.client();
    try {
      co_return co_await call(shim);
    } catch (const kj::Exception& exception) {
      if (!isLostShim(exception) || losses == MAX_LOSSES) throw;
    }
    // Until the loss has been noticed everywhere.
    co_await timer.afterDelay(PAUSE);
  }
}

}  // namespace belay::supervisor
