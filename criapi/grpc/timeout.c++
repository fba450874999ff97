// See timeout.h.
#include "criapi/grpc/timeout.h"

namespace belay::criapi::grpc {

namespace {

constexpr size_t MAX_DIGITS = 8;

kj::Maybe<kj::Duration> unitOf(char letter) {
  switch (letter) {
    case 'H':
      return kj::HOURS;
    case 'M':
      return kj::MINUTES;
    case 'S':
      return kj::SECONDS;
    case 'm':
      return kj::MILLISECONDS;
    case 'u':
      return kj::MICROSECONDS;
    case 'n':
      return kj::NANOSECONDS;
  }
  return nullptr;
}

}  // namespace

kj::Maybe<kj::Duration> parseTimeout(kj::StringPtr text) {
  if (text.size() < 2 || text.size() > MAX_DIGITS + 1) return nullptr;
  int64_t value = 0;
  for (char c : text.slice(0, text.size() - 1)) {
    if (c < '0' || c > '9') return nullptr;
    value = value * 10 + (c - '0');
  }
  KJ_IF_MAYBE (unit, unitOf(text[text.size() - 1])) {
    if (value > MAX_TIMEOUT / *unit) return MAX_TIMEOUT;
    return value * *unit;
  }
  return nullptr;
}

}  // namespace belay::criapi::grpc
