// A text to be sent on a stream.
#pragma once

#include <kj/string.h>
#include <string.h>

#include "criapi/streaming/stream.h"

namespace belay::criapi::streaming {

class TextSource final : public ByteSource {
 public:
  explicit TextSource(kj::StringPtr text) : rest(text.asBytes()) {}

  kj::Maybe<size_t> read(kj::ArrayPtr<kj::byte> buffer) override {
    size_t count = kj::min(buffer.size(), rest.size());
    memcpy(buffer.begin(), rest.begin(), count);
    rest = rest.slice(count, rest.size());
    return count;
  }

 private:
  kj::ArrayPtr<const kj::byte> rest;
};

// Sends all of `text`, which must outlive the promise, and ends the stream.
inline kj::Promise<void> sendText(Stream& stream, kj::StringPtr text) {
  TextSource source(text);
  for (;;) {
    auto sent = co_await stream.send(source);
    KJ_IF_MAYBE (bytes, sent) {
      if (*bytes == 0) break;
    }
  }
  stream.end();
}

}  // namespace belay::criapi::streaming
