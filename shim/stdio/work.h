// Work that must not be cut off half-way when another program takes this one's place.
#pragma once

#include <kj/async.h>

#include "shim/stdio/wakeup.h"

namespace belay::shim {

// Counts what is under way. Outlives all of it.
class WorkCounter {
 public:
  WorkCounter() = default;
  KJ_DISALLOW_COPY_AND_MOVE(WorkCounter);

  bool none() const { return count == 0; }

  // Resolves when nothing is under way, at that moment, and everybody has heard of what has ended.
  // One waiter.
  kj::Promise<void> whenNone() {
    do {
      while (count > 0)
        co_await ended.wait();
      co_await kj::evalLast([]() {});
    } while (count > 0);
  }

 private:
  friend class Work;
  kj::uint count = 0;
  Wakeup ended;
};

// One piece of it, as long as this lives.
class Work {
 public:
  explicit Work(WorkCounter& counter) : counter(counter) { counter.count++; }
  ~Work() {
    if (--counter.count == 0) counter.ended.notify();
  }
  KJ_DISALLOW_COPY_AND_MOVE(Work);

 private:
  WorkCounter& counter;
};

}  // namespace belay::shim
