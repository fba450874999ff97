// Fuzzes the head of a streaming client's request.
#include <stdint.h>

#include "criapi/streaming/upgrade.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace belay::criapi::streaming;
  auto head = parseHead(kj::arrayPtr(reinterpret_cast<const char*>(data), size));
  if (head.is<RequestHead>()) chooseUpgrade(head.get<RequestHead>());
  return 0;
}
