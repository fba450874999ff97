// Fuzzes WebSocket's frames, and the terminal sizes within them, in pieces of varying sizes.
#include <kj/exception.h>
#include <stdint.h>

#include "criapi/streaming/resize.h"
#include "criapi/streaming/websocket-reader.h"

namespace {

using namespace belay::criapi::streaming;

struct Handler final : WebSocketHandler {
  ResizeParser sizes;
  bool open = false;

  void messageBegan() override {
    if (open) __builtin_trap();
    open = true;
  }
  void messageBytes(kj::ArrayPtr<const kj::byte> bytes) override {
    if (!open || bytes.size() == 0) __builtin_trap();
    sizes.feed(bytes, [](uint16_t columns, uint16_t rows) {
      if (columns == 0 || rows == 0) __builtin_trap();
    });
  }
  void messageEnded() override {
    if (!open) __builtin_trap();
    open = false;
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  size_t piece = data[0] + 1;
  Handler handler;
  WebSocketReader reader;
  for (size_t at = 1; at < size && !reader.isClosed(); at += piece)
    reader.feed(kj::arrayPtr(data + at, kj::min(piece, size - at)), handler);
  return 0;
}
