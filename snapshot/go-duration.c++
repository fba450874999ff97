// See go-duration.h.
#include "snapshot/go-duration.h"

namespace belay::snapshot {

namespace {

struct Unit {
  kj::StringPtr name;
  double ms;
};

constexpr double MAX_MS = 366.0 * 24 * 3600 * 1000;

// Longer names first, so that "ms" is not read as "m".
kj::Maybe<const Unit&> unitAt(kj::StringPtr text) {
  static const Unit UNITS[] = {{"ns", 1e-6}, {"us", 1e-3}, {"\u00b5s", 1e-3}, {"\u03bcs", 1e-3},
                               {"ms", 1},    {"s", 1000},  {"m", 60'000},     {"h", 3'600'000}};
  for (const Unit& unit : UNITS) {
    if (text.startsWith(unit.name)) return unit;
  }
  return nullptr;
}

}  // namespace

kj::Maybe<uint64_t> parseGoDurationMs(kj::StringPtr text) {
  if (text == "0") return uint64_t(0);
  if (text.size() == 0) return nullptr;
  double total = 0;
  while (text.size() > 0) {
    double value = 0;
    double weight = 1;
    bool fraction = false;
    bool digits = false;
    size_t at = 0;
    for (; at < text.size(); ++at) {
      char c = text[at];
      if (c == '.' && !fraction) {
        fraction = true;
      } else if ('0' <= c && c <= '9') {
        digits = true;
        if (fraction) weight /= 10;
        value = fraction ? value + (c - '0') * weight : value * 10 + (c - '0');
      } else {
        break;
      }
    }
    if (!digits) return nullptr;
    text = text.slice(at);
    KJ_IF_MAYBE (unit, unitAt(text)) {
      total += value * unit->ms;
      text = text.slice(unit->name.size());
    } else {
      return nullptr;
    }
    if (total > MAX_MS) return nullptr;
  }
  return static_cast<uint64_t>(total);
}

}  // namespace belay::snapshot
