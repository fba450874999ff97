// See gzip.h.
#include "criapi/grpc/gzip.h"

#include <kj/debug.h>
#include <kj/vector.h>
#include <zlib.h>

namespace belay::criapi::grpc {

namespace {

constexpr size_t STEP_BYTES = 64 * 1024;
// windowBits for inflateInit2: the largest window, and a gzip header is expected.
constexpr int GZIP_WINDOW_BITS = 15 + 16;

Status brokenGzip(kj::StringPtr reason) {
  return {Code::INTERNAL, kj::str("the gzip'd request cannot be inflated: ", reason)};
}

}  // namespace

kj::OneOf<kj::Array<kj::byte>, Status> gunzip(kj::ArrayPtr<const kj::byte> compressed,
                                              size_t maxBytes, ByteLease& lease) {
  z_stream stream{};
  KJ_REQUIRE(inflateInit2(&stream, GZIP_WINDOW_BITS) == Z_OK, "cannot set up zlib");
  KJ_DEFER(inflateEnd(&stream));
  stream.next_in = const_cast<Bytef*>(compressed.begin());
  stream.avail_in = static_cast<uInt>(compressed.size());

  kj::Vector<kj::byte> inflated;
  auto step = kj::heapArray<kj::byte>(STEP_BYTES);
  for (;;) {
    stream.next_out = step.begin();
    stream.avail_out = static_cast<uInt>(step.size());
    int result = inflate(&stream, Z_NO_FLUSH);
    if (result != Z_OK && result != Z_STREAM_END) {
      return brokenGzip(result == Z_BUF_ERROR   ? "it is cut short"
                        : stream.msg != nullptr ? kj::StringPtr(stream.msg)
                                                : "it is no gzip"_kj);
    }

    size_t produced = step.size() - stream.avail_out;
    if (inflated.size() + produced > maxBytes) {
      return Status{Code::RESOURCE_EXHAUSTED,
                    kj::str("the request inflates to more than the limit of ", maxBytes, " bytes")};
    }
    if (!lease.tryGrow(produced)) {
      return Status{Code::RESOURCE_EXHAUSTED,
                    kj::str("the server already holds as many bytes of messages as it may")};
    }
    inflated.addAll(step.slice(0, produced));

    if (result == Z_STREAM_END) break;
  }
  if (stream.avail_in != 0) return brokenGzip("bytes follow its end");
  return inflated.releaseAsArray();
}

}  // namespace belay::criapi::grpc
