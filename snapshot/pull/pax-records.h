// The records of a pax extended header: "LENGTH KEY=VALUE\n" each (POSIX pax, "pax Extended
// Header").
#pragma once

#include <kj/array.h>
#include <kj/function.h>
#include <kj/string.h>
#include <stdint.h>
#include <time.h>

namespace belay::snapshot {

// Calls `take` with each record in order; values may hold any bytes. Throws a pull error INVALID
// when the records are malformed.
void forEachPaxRecord(kj::ArrayPtr<const kj::byte> records,
                      kj::Function<void(kj::StringPtr key, kj::ArrayPtr<const char> value)> take);

// A decimal number without sign; throws INVALID, naming `key`, for anything else.
uint64_t paxNumber(kj::StringPtr key, kj::ArrayPtr<const char> value);

// Seconds with an optional sign and fraction; digits beyond nanoseconds are cut.
struct timespec paxTime(kj::StringPtr key, kj::ArrayPtr<const char> value);

}  // namespace belay::snapshot
