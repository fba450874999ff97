// Tests the decompressors with whole, joined, padded, cut and damaged streams.
#include "snapshot/pull/decompress.h"

#include <gtest/gtest.h>
#include <kj/debug.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include <string>

#include "snapshot/pull/pull-error.h"

namespace belay::snapshot {
namespace {

std::string gzip(const std::string& plain) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(deflateBound(&stream, plain.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(plain.data()));
  stream.avail_in = plain.size();
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = out.size();
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string zstd(const std::string& plain) {
  std::string out(ZSTD_compressBound(plain.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), plain.data(), plain.size(), 3));
  return out;
}

// Bytes that do not compress well, so that streams span many buffers.
std::string noise(size_t size) {
  std::string bytes(size, '\0');
  uint32_t state = 12345;
  for (char& c : bytes) {
    state = state * 1664525 + 1013904223;
    c = static_cast<char>(state >> 24);
  }
  return bytes;
}

struct Outcome {
  std::string plain;
  std::string failure;
};

Outcome run(const std::string& input, size_t piece = 65536) {
  Outcome outcome;
  size_t at = 0;
  try {
    decompress(
        [&](kj::ArrayPtr<kj::byte> buffer) {
          size_t n = std::min({buffer.size(), piece, input.size() - at});
          memcpy(buffer.begin(), input.data() + at, n);
          at += n;
          return n;
        },
        [&](kj::ArrayPtr<const kj::byte> bytes) {
          outcome.plain.append(bytes.asChars().begin(), bytes.size());
        });
  } catch (const kj::Exception& e) {
    outcome.failure = pullErrorSentence(e).cStr();
  }
  return outcome;
}

TEST(Decompress, FollowsTheContent) {
  std::string plain = noise(700'000) + std::string(700'000, 'a');
  for (const auto& input : {plain, gzip(plain), zstd(plain)}) {
    for (size_t piece : {999, 65536}) {
      auto outcome = run(input, piece);
      EXPECT_EQ(outcome.failure, "");
      EXPECT_TRUE(outcome.plain == plain);
    }
  }
}

TEST(Decompress, TakesSmallPieces) {
  EXPECT_EQ(run(gzip("hello"), 1).plain, "hello");
}

TEST(Decompress, GivesNothingForNothing) {
  EXPECT_EQ(run("").plain, "");
  EXPECT_EQ(run("").failure, "");
  EXPECT_EQ(run(gzip("")).failure, "");
}

TEST(Decompress, TakesAllGzipMembers) {
  std::string big = noise(300'000);
  auto outcome = run(gzip("one ") + gzip("") + gzip(big) + gzip(" three"), 1000);
  EXPECT_EQ(outcome.failure, "");
  EXPECT_TRUE(outcome.plain == "one " + big + " three");
}

TEST(Decompress, TakesAllZstdFramesAndSkipsSkippableOnes) {
  std::string skippable("\x50\x2a\x4d\x18\x03\0\0\0abc", 11);
  auto outcome = run(skippable + zstd("one ") + skippable + zstd("two"));
  EXPECT_EQ(outcome.failure, "");
  EXPECT_EQ(outcome.plain, "one two");
}

TEST(Decompress, SkipsZeroesAfterGzip) {
  auto outcome = run(gzip("padded") + std::string(70'000, '\0'));
  EXPECT_EQ(outcome.failure, "");
  EXPECT_EQ(outcome.plain, "padded");
  EXPECT_EQ(run(gzip("a") + std::string(10, '\0') + gzip("b")).plain, "ab");
}

TEST(Decompress, RefusesOtherBytesAfterGzip) {
  EXPECT_NE(run(gzip("x") + "rubbish").failure.find("after its gzip stream"), std::string::npos);
  EXPECT_NE(run(gzip("x") + "\x1f"
                            "rubbish")
                .failure,
            "");
}

TEST(Decompress, RefusesTruncatedStreamsAtEveryLength) {
  std::string plain = noise(2000);
  for (const auto& whole : {gzip(plain), zstd(plain)}) {
    for (size_t length = 4; length < whole.size(); length += 13) {
      EXPECT_NE(run(whole.substr(0, length)).failure, "") << length << " of " << whole.size();
    }
    EXPECT_NE(run(whole.substr(0, whole.size() - 1)).failure, "");
    EXPECT_EQ(run(whole).failure, "");
  }
}

TEST(Decompress, RefusesATruncatedSecondMember) {
  auto second = gzip(noise(5000));
  EXPECT_NE(run(gzip("first") + second.substr(0, second.size() / 2)).failure, "");
}

TEST(Decompress, RefusesDamage) {
  auto whole = gzip(noise(100'000));
  whole[whole.size() - 6] ^= 1;  // the checksum
  EXPECT_NE(run(whole).failure.find("damaged"), std::string::npos);
  auto frame = zstd(noise(100'000));
  frame[frame.size() / 2] ^= 0x40;
  frame[5] ^= 0xff;
  EXPECT_NE(run(frame).failure, "");
}

TEST(Decompress, RefusesZstdWindowsBeyondItsMemory) {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, 28);
  ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
  std::string plain = noise(100'000);
  std::string out(ZSTD_compressBound(plain.size()), '\0');
  ZSTD_inBuffer in{plain.data(), plain.size(), 0};
  ZSTD_outBuffer buffer{out.data(), out.size(), 0};
  // In two steps, so that the frame's header cannot tell the size and keeps the window.
  in.size = 1000;
  ZSTD_compressStream2(context, &buffer, &in, ZSTD_e_continue);
  in.size = plain.size();
  while (ZSTD_compressStream2(context, &buffer, &in, ZSTD_e_end) != 0) {
  }
  ZSTD_freeCCtx(context);
  EXPECT_NE(run(out.substr(0, buffer.pos)).failure.find("memory"), std::string::npos);
}

TEST(MediaType, NamesTheCompression) {
  auto of = [](kj::StringPtr type) { return KJ_ASSERT_NONNULL(compressionOfMediaType(type)); };
  EXPECT_EQ(of("application/vnd.oci.image.layer.v1.tar"), Compression::NONE);
  EXPECT_EQ(of("application/vnd.oci.image.layer.v1.tar+gzip"), Compression::GZIP);
  EXPECT_EQ(of("application/vnd.oci.image.layer.v1.tar+zstd"), Compression::ZSTD);
  EXPECT_EQ(of("application/vnd.docker.image.rootfs.diff.tar.gzip"), Compression::GZIP);
  EXPECT_EQ(of("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"), Compression::GZIP);
  EXPECT_TRUE(compressionOfMediaType("application/vnd.oci.image.layer.v1.tar+gzip+encrypted") ==
              nullptr);
  EXPECT_TRUE(compressionOfMediaType("application/vnd.oci.image.layer.v1.tarball") == nullptr);
  EXPECT_TRUE(compressionOfMediaType("text/plain") == nullptr);
}

}  // namespace
}  // namespace belay::snapshot
