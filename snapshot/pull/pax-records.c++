// See pax-records.h.
#include "snapshot/pull/pax-records.h"

#include <string.h>

#include "snapshot/pull/pull-error.h"

namespace belay::snapshot {

namespace {

// Reads digits from the front of `text`, which is shortened by them. At most 18, so that no sum or
// product here can overflow.
kj::Maybe<uint64_t> takeDigits(kj::ArrayPtr<const char>& text) {
  uint64_t value = 0;
  size_t n = 0;
  while (n < text.size() && text[n] >= '0' && text[n] <= '9') {
    if (n == 18) return nullptr;
    value = value * 10 + (text[n++] - '0');
  }
  if (n == 0) return nullptr;
  text = text.slice(n, text.size());
  return value;
}

[[noreturn]] void failRecord(kj::StringPtr key) {
  failPull(FailureCode::INVALID, "the pax record \"", oneLine(key, 64), "\" is malformed");
}

}  // namespace

void forEachPaxRecord(kj::ArrayPtr<const kj::byte> bytes,
                      kj::Function<void(kj::StringPtr, kj::ArrayPtr<const char>)> take) {
  auto records = bytes.asChars();
  while (records.size() > 0) {
    auto rest = records;
    uint64_t length = 0;
    KJ_IF_MAYBE (digits, takeDigits(rest)) {
      length = *digits;
    }
    size_t lengthDigits = records.size() - rest.size();
    // The length counts its own digits, the blank, and the newline.
    if (length < lengthDigits + 4 || length > records.size() || rest.size() == 0 ||
        rest[0] != ' ' || records[length - 1] != '\n') {
      failPull(FailureCode::INVALID, "a pax header is malformed");
    }
    auto record = records.slice(lengthDigits + 1, length - 1);
    auto equals = static_cast<const char*>(memchr(record.begin(), '=', record.size()));
    if (equals == nullptr || equals == record.begin()) {
      failPull(FailureCode::INVALID, "a pax record has no key");
    }
    size_t keyLength = equals - record.begin();
    take(kj::heapString(record.slice(0, keyLength)), record.slice(keyLength + 1, record.size()));
    records = records.slice(length, records.size());
  }
}

uint64_t paxNumber(kj::StringPtr key, kj::ArrayPtr<const char> value) {
  KJ_IF_MAYBE (number, takeDigits(value)) {
    if (value.size() == 0) return *number;
  }
  failRecord(key);
}

struct timespec paxTime(kj::StringPtr key, kj::ArrayPtr<const char> value) {
  bool negative = value.size() > 0 && value[0] == '-';
  if (negative) value = value.slice(1, value.size());
  struct timespec time{};
  KJ_IF_MAYBE (seconds, takeDigits(value)) {
    time.tv_sec = *seconds;
  } else {
    failRecord(key);
  }
  if (value.size() > 0 && value[0] == '.') {
    long unit = 100'000'000;
    size_t i = 1;
    for (; i < value.size() && value[i] >= '0' && value[i] <= '9'; ++i, unit /= 10) {
      time.tv_nsec += unit * (value[i] - '0');
    }
    value = value.slice(i, value.size());
  }
  if (value.size() > 0) failRecord(key);
  if (negative) {
    time.tv_sec = -time.tv_sec;
    if (time.tv_nsec > 0) {
      time.tv_sec -= 1;
      time.tv_nsec = 1'000'000'000 - time.tv_nsec;
    }
  }
  return time;
}

}  // namespace belay::snapshot
