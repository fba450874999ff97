// See utf8.h.
#include "criapi/grpc/utf8.h"

#include <kj/vector.h>

#include <cstdint>

namespace belay::criapi::grpc {

namespace {

constexpr kj::StringPtr REPLACEMENT = "\xEF\xBF\xBD"_kj;

// What a lead byte promises: the sequence's length and the range of its second byte, which excludes
// overlong forms, surrogates and what is above U+10FFFF (Unicode, table 3-7). Length 0: no lead
// byte.
struct Lead {
  uint8_t length;
  uint8_t secondMin;
  uint8_t secondMax;
};

Lead leadOf(uint8_t byte) {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xC2) return {0, 0, 0};
  if (byte < 0xE0) return {2, 0x80, 0xBF};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte < 0xF0) return {3, 0x80, 0xBF};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte < 0xF4) return {4, 0x80, 0xBF};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

// The part of the text that one step takes: a character, or a maximal ill-formed part of at least
// one byte.
struct Step {
  size_t length;
  bool isValid;
};

Step step(kj::ArrayPtr<const char> bytes) {
  auto at = [&](size_t i) { return static_cast<uint8_t>(bytes[i]); };
  Lead lead = leadOf(at(0));
  if (lead.length <= 1) return {1, lead.length == 1};
  size_t length = 1;
  while (length < lead.length && length < bytes.size()) {
    uint8_t low = length == 1 ? lead.secondMin : 0x80;
    uint8_t high = length == 1 ? lead.secondMax : 0xBF;
    if (at(length) < low || at(length) > high) break;
    ++length;
  }
  return {length, length == lead.length};
}

}  // namespace

bool isUtf8(kj::ArrayPtr<const char> bytes) {
  while (bytes.size() > 0) {
    Step next = step(bytes);
    if (!next.isValid) return false;
    bytes = bytes.slice(next.length, bytes.size());
  }
  return true;
}

kj::String sanitizeUtf8(kj::ArrayPtr<const char> bytes) {
  kj::Vector<char> text(bytes.size() + 1);
  while (bytes.size() > 0) {
    Step next = step(bytes);
    text.addAll(next.isValid ? bytes.slice(0, next.length) : REPLACEMENT.asArray());
    bytes = bytes.slice(next.length, bytes.size());
  }
  text.add('\0');
  return kj::String(text.releaseAsArray());
}

}  // namespace belay::criapi::grpc
