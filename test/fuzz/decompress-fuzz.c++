// Fuzzes the decompressors, with reads of varying sizes.
#include <kj/exception.h>
#include <stdint.h>
#include <string.h>

#include "snapshot/pull/decompress.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  size_t piece = data[0] + 1;
  size_t at = 1;
  uint64_t produced = 0;
  kj::runCatchingExceptions([&]() {
    belay::snapshot::decompress(
        [&](kj::ArrayPtr<kj::byte> buffer) {
          size_t n = kj::min(kj::min(buffer.size(), piece), size - at);
          memcpy(buffer.begin(), data + at, n);
          at += n;
          return n;
        },
        [&](kj::ArrayPtr<const kj::byte> bytes) { produced += bytes.size(); });
  });
  return 0;
}
