// A latch between two coroutines of one event loop: one waits until the other says that there is
// something to do. A notification before the wait is not lost; several count as one.
#pragma once

#include <kj/async.h>

namespace belay::shim {

class Wakeup {
 public:
  void notify() {
    pending = true;
    KJ_IF_MAYBE (waiting, waiter) {
      if ((*waiting)->isWaiting()) (*waiting)->fulfill();
      waiter = nullptr;
    }
  }

  // Resolves at the next notify(), or now if there was one since the last wait. One waiter at a
  // time; dropping the promise is fine and loses no notification.
  [[nodiscard]] kj::Promise<void> wait() {
    while (!pending) {
      auto paf = kj::newPromiseAndFulfiller<void>();
      waiter = kj::mv(paf.fulfiller);
      co_await paf.promise;
    }
    pending = false;
  }

 private:
  bool pending = false;
  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> waiter;
};

}  // namespace belay::shim
