// When bytes of a stream last moved.
#pragma once

#include <kj/async.h>
#include <kj/timer.h>

namespace belay::criapi::streaming {

// Only streams' bytes count: a client that does nothing but ping is idle.
class Activity {
 public:
  explicit Activity(kj::Timer& timer) : timer(timer), last(timer.now()) {}

  void touch() { last = timer.now(); }

  // Resolves when nothing has moved for `limit`.
  kj::Promise<void> whenIdleFor(kj::Duration limit) {
    while (timer.now() - last < limit)
      co_await timer.atTime(last + limit);
  }

 private:
  kj::Timer& timer;
  kj::TimePoint last;
};

}  // namespace belay::criapi::streaming
