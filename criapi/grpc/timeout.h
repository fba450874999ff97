// The value of the `grpc-timeout` header: at most eight digits and a unit.
#pragma once

#include <kj/string.h>
#include <kj/time.h>

namespace belay::criapi::grpc {

// Parses e.g. "1500m" (H hours, M minutes, S seconds, m milliseconds, u microseconds, n
// nanoseconds). Null if malformed. Values too large for a useful deadline become MAX_TIMEOUT.
kj::Maybe<kj::Duration> parseTimeout(kj::StringPtr text);

constexpr kj::Duration MAX_TIMEOUT = 3650 * kj::DAYS;

}  // namespace belay::criapi::grpc
