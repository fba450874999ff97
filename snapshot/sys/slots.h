// A limit on how many of something run at once.
#pragma once

#include <kj/async.h>
#include <kj/memory.h>

#include <deque>

namespace belay::snapshot {

class Slots {
 public:
  explicit Slots(kj::uint count) : unused(count) {}
  KJ_DISALLOW_COPY_AND_MOVE(Slots);

  // The right to run; given to the next in line when it is dropped. `slots` outlives it.
  class Slot {
   public:
    explicit Slot(Slots& slots) : slots(slots) {}
    ~Slot() noexcept(false) { slots.release(); }
    KJ_DISALLOW_COPY_AND_MOVE(Slot);

   private:
    Slots& slots;
  };

  // Resolves in the order of the calls. Dropping the promise leaves the line.
  kj::Promise<kj::Own<Slot>> take() {
    if (unused > 0) {
      --unused;
      return kj::heap<Slot>(*this);
    }
    auto waiter = kj::newPromiseAndFulfiller<kj::Own<Slot>>();
    line.push_back(kj::mv(waiter.fulfiller));
    return kj::mv(waiter.promise);
  }

 private:
  kj::uint unused;
  std::deque<kj::Own<kj::PromiseFulfiller<kj::Own<Slot>>>> line;

  void release() {
    while (!line.empty()) {
      auto next = kj::mv(line.front());
      line.pop_front();
      if (!next->isWaiting()) continue;
      // If it goes away before it looks, the slot is dropped with its promise and comes back here.
      next->fulfill(kj::heap<Slot>(*this));
      return;
    }
    ++unused;
  }
};

}  // namespace belay::snapshot
