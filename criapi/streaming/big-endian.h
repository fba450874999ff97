// Integers in network order within byte arrays.
#pragma once

#include <kj/common.h>
#include <stdint.h>

namespace belay::criapi::streaming {

// Of the first four bytes.
inline uint32_t readBigEndian32(kj::ArrayPtr<const kj::byte> bytes) {
  return uint32_t{bytes[0]} << 24 | uint32_t{bytes[1]} << 16 | uint32_t{bytes[2]} << 8 |
         uint32_t{bytes[3]};
}

inline uint32_t readBigEndian24(kj::ArrayPtr<const kj::byte> bytes) {
  return uint32_t{bytes[0]} << 16 | uint32_t{bytes[1]} << 8 | uint32_t{bytes[2]};
}

inline void writeBigEndian32(kj::byte* to, uint32_t value) {
  to[0] = value >> 24;
  to[1] = value >> 16;
  to[2] = value >> 8;
  to[3] = value;
}

}  // namespace belay::criapi::streaming
