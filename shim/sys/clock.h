// The wall clock, as records, logs and statistics have it.
#pragma once

#include <stdint.h>
#include <time.h>

namespace belay::shim {

// CLOCK_REALTIME in nanoseconds. Cannot fail: the clock is always there (clock_gettime(2)).
inline int64_t realtimeNs() {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * 1'000'000'000ll + now.tv_nsec;
}

}  // namespace belay::shim
