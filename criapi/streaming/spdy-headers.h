// SPDY's header blocks: zlib streams that live as long as the connection, one for each direction.
#pragma once

#include <kj/array.h>
#include <kj/string.h>
#include <kj/vector.h>
#include <zlib.h>

#include "criapi/streaming/stream.h"

namespace belay::criapi::streaming {

// Decompresses what the client sends. Each block has to pass, also of a stream that is refused, or
// the next cannot be read. Throws on a corrupt block and on one that grows above MAX_BLOCK_BYTES:
// nothing on the connection can be understood after that.
class SpdyHeaderReader {
 public:
  // Real clients send some hundred bytes.
  static constexpr size_t MAX_BLOCK_BYTES = 64 * 1024;
  static constexpr uint32_t MAX_HEADERS = 1000;

  SpdyHeaderReader();
  ~SpdyHeaderReader() noexcept(false);
  KJ_DISALLOW_COPY_AND_MOVE(SpdyHeaderReader);

  // The plain block; good until the next call.
  kj::ArrayPtr<const kj::byte> decompress(kj::ArrayPtr<const kj::byte> block);

 private:
  z_stream zlib = {};
  kj::Array<kj::byte> plain;
};

// The headers of a plain block that matter here, without the id. nullptr when the block is not as
// the draft (2.6.10) has it: names are lower-case, not empty, and come once.
kj::Maybe<StreamHeaders> parseSpdyHeaders(kj::ArrayPtr<const kj::byte> plainBlock);

// Compresses what the client is told: only ever blocks without headers.
class SpdyHeaderWriter {
 public:
  SpdyHeaderWriter();
  ~SpdyHeaderWriter() noexcept(false);
  KJ_DISALLOW_COPY_AND_MOVE(SpdyHeaderWriter);

  kj::Array<kj::byte> emptyBlock();

 private:
  z_stream zlib = {};
};

}  // namespace belay::criapi::streaming
