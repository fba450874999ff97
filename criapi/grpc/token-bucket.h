// A rate limit: so many at once, so many per second in the long run.
#pragma once

#include <kj/timer.h>

#include <cstdint>

namespace belay::criapi::grpc {

class TokenBucket {
 public:
  // `timer` outlives the bucket. It starts full.
  TokenBucket(kj::Timer& timer, uint32_t burst, uint32_t perSecond)
      : timer(timer), burst(burst), perSecond(perSecond), tokens(burst), filledAt(timer.now()) {}

  // Takes a token; false if there is none.
  bool tryTake() {
    auto now = timer.now();
    double seconds = (now - filledAt) / kj::NANOSECONDS * 1e-9;
    filledAt = now;
    tokens = kj::min(burst, tokens + seconds * perSecond);
    if (tokens < 1) return false;
    tokens -= 1;
    return true;
  }

 private:
  kj::Timer& timer;
  double burst;
  double perSecond;
  double tokens;
  kj::TimePoint filledAt;
};

}  // namespace belay::criapi::grpc
