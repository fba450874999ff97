// See ids.h.
#include "supervisor/ids.h"

#include <kj/debug.h>
#include <kj/encoding.h>
#include <sys/random.h>

namespace belay::supervisor {

namespace {

template <size_t SIZE>
kj::FixedArray<kj::byte, SIZE> randomBytes() {
  kj::FixedArray<kj::byte, SIZE> bytes;
  ssize_t count;
  KJ_SYSCALL(count = getrandom(bytes.begin(), SIZE, 0));
  KJ_ASSERT(count == SIZE);  // always, for so few (getrandom(2))
  return bytes;
}

}  // namespace

kj::String newId() {
  return kj::encodeHex(randomBytes<32>());
}

kj::String newUuid() {
  auto bytes = randomBytes<16>();
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  auto hex = kj::encodeHex(bytes);
  return kj::str(hex.slice(0, 8), '-', hex.slice(8, 12), '-', hex.slice(12, 16), '-',
                 hex.slice(16, 20), '-', hex.slice(20));
}

}  // namespace belay::supervisor
