// Durations as Go programs write them into configuration files: "500ms", "1m30s", "1.5h".
#pragma once

#include <kj/string.h>
#include <stdint.h>

namespace belay::snapshot {

// In whole milliseconds, rounded down; null when it is no such text, negative, or longer than a
// year.
kj::Maybe<uint64_t> parseGoDurationMs(kj::StringPtr text);

}  // namespace belay::snapshot
