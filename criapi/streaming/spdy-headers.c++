// SPDY's header blocks.
#include "criapi/streaming/spdy-headers.h"

#include <kj/debug.h>

#include <set>
#include <string_view>

#include "criapi/streaming/big-endian.h"
#include "criapi/streaming/spdy-dictionary.h"

namespace belay::criapi::streaming {

SpdyHeaderReader::SpdyHeaderReader() : plain(kj::heapArray<kj::byte>(MAX_BLOCK_BYTES)) {
  KJ_REQUIRE(inflateInit(&zlib) == Z_OK, "inflateInit failed");
}

SpdyHeaderReader::~SpdyHeaderReader() noexcept(false) {
  inflateEnd(&zlib);
}

kj::ArrayPtr<const kj::byte> SpdyHeaderReader::decompress(kj::ArrayPtr<const kj::byte> block) {
  zlib.next_in = const_cast<kj::byte*>(block.begin());
  zlib.avail_in = block.size();
  zlib.next_out = plain.begin();
  zlib.avail_out = plain.size();
  int result = inflate(&zlib, Z_SYNC_FLUSH);
  if (result == Z_NEED_DICT) {
    auto dictionary = spdyDictionary();
    KJ_REQUIRE(inflateSetDictionary(&zlib, dictionary.begin(), dictionary.size()) == Z_OK,
               "The headers are compressed with an unknown dictionary.");
    result = inflate(&zlib, Z_SYNC_FLUSH);
  }
  // Z_BUF_ERROR: a block that flushes nothing out.
  KJ_REQUIRE(result == Z_OK || result == Z_BUF_ERROR, "The headers' compression is corrupt.",
             result);
  // A full buffer may hide more; at its limit it is too big in any case.
  KJ_REQUIRE(zlib.avail_in == 0 && zlib.avail_out > 0, "The headers are too big.");
  return plain.slice(0, plain.size() - zlib.avail_out);
}

kj::Maybe<StreamHeaders> parseSpdyHeaders(kj::ArrayPtr<const kj::byte> block) {
  if (block.size() < 4) return nullptr;
  uint32_t count = readBigEndian32(block);
  block = block.slice(4, block.size());
  if (count > SpdyHeaderReader::MAX_HEADERS) return nullptr;

  auto take = [&]() -> kj::Maybe<kj::ArrayPtr<const char>> {
    if (block.size() < 4) return nullptr;
    uint32_t size = readBigEndian32(block);
    if (size > block.size() - 4) return nullptr;
    auto text = block.slice(4, 4 + size).asChars();
    block = block.slice(4 + size, block.size());
    return text;
  };

  StreamHeaders headers;
  std::set<std::string_view> seen;
  for (uint32_t i = 0; i < count; ++i) {
    KJ_IF_MAYBE (name, take()) {
      KJ_IF_MAYBE (value, take()) {
        std::string_view key(name->begin(), name->size());
        if (key.empty() || !seen.insert(key).second) return nullptr;
        for (char c : key)
          if (c >= 'A' && c <= 'Z') return nullptr;
        if (key == "streamtype") headers.type = kj::heapString(*value);
        if (key == "port") headers.port = kj::heapString(*value);
        if (key == "requestid") headers.requestId = kj::heapString(*value);
        continue;
      }
    }
    return nullptr;
  }
  if (block.size() > 0) return nullptr;
  return kj::mv(headers);
}

SpdyHeaderWriter::SpdyHeaderWriter() {
  // The least memory: a block here is four zero bytes.
  KJ_REQUIRE(deflateInit2(&zlib, Z_BEST_SPEED, Z_DEFLATED, 11, 1, Z_DEFAULT_STRATEGY) == Z_OK,
             "deflateInit failed");
  auto dictionary = spdyDictionary();
  KJ_REQUIRE(deflateSetDictionary(&zlib, dictionary.begin(), dictionary.size()) == Z_OK);
}

SpdyHeaderWriter::~SpdyHeaderWriter() noexcept(false) {
  deflateEnd(&zlib);
}

kj::Array<kj::byte> SpdyHeaderWriter::emptyBlock() {
  kj::byte noHeaders[4] = {};
  kj::byte out[64];
  zlib.next_in = noHeaders;
  zlib.avail_in = sizeof(noHeaders);
  zlib.next_out = out;
  zlib.avail_out = sizeof(out);
  KJ_REQUIRE(deflate(&zlib, Z_SYNC_FLUSH) == Z_OK && zlib.avail_out > 0, "deflate failed");
  return kj::heapArray<kj::byte>(kj::arrayPtr(out, sizeof(out) - zlib.avail_out));
}

}  // namespace belay::criapi::streaming
