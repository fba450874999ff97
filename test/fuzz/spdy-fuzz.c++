// Fuzzes SPDY's frames and header blocks, in pieces of varying sizes.
#include <kj/exception.h>
#include <stdint.h>

#include "criapi/streaming/spdy-headers.h"
#include "criapi/streaming/spdy-parser.h"

namespace {

using namespace belay::criapi::streaming;

struct Handler final : SpdyFrameHandler {
  SpdyHeaderReader reader;

  void dataArrived(uint32_t, kj::ArrayPtr<const kj::byte> bytes) override {
    if (bytes.size() == 0) __builtin_trap();
  }
  void dataEnded(uint32_t, bool) override {}
  void controlArrived(SpdyType type, kj::byte, kj::ArrayPtr<const kj::byte> payload) override {
    if (payload.size() > SpdyParser::MAX_CONTROL_BYTES) __builtin_trap();
    if (type == SpdyType::SYN_STREAM && payload.size() >= 10) {
      parseSpdyHeaders(reader.decompress(payload.slice(10, payload.size())));
    } else {
      // What a client's compressor never makes: a plain block of any bytes.
      parseSpdyHeaders(payload);
    }
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  size_t piece = data[0] + 1;
  kj::runCatchingExceptions([&]() {
    Handler handler;
    SpdyParser parser;
    for (size_t at = 1; at < size; at += piece)
      parser.feed(kj::arrayPtr(data + at, kj::min(piece, size - at)), handler);
  });
  return 0;
}
