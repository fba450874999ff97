// See decompress.h.
#include "snapshot/pull/decompress.h"

#include <isa-l/igzip_lib.h>
#include <kj/debug.h>
#include <unistd.h>
#include <zstd.h>

#include <memory>

#include "failpoint/failpoint.h"
#include "snapshot/pull/confine.h"
#include "snapshot/pull/pipe-io.h"
#include "snapshot/pull/pull-error.h"
#include "snapshot/pull/report.h"

namespace belay::snapshot {

namespace {

constexpr int REPORT_FD = 3;

// The compressed side: one buffer, refilled when it is used up.
class Input {
 public:
  explicit Input(ReadBytes read)
      : readMore(kj::mv(read)), buffer(kj::heapArray<kj::byte>(PIPE_CHUNK_BYTES)) {}

  // The bytes not yet consumed; reads more only when there are none. Empty at the end.
  kj::ArrayPtr<const kj::byte> available() {
    if (left.size() == 0) left = buffer.slice(0, readMore(buffer));
    return left;
  }

  void consume(size_t n) { left = left.slice(n, left.size()); }

  // At least `n` bytes, if the input has them; only before anything was consumed.
  kj::ArrayPtr<const kj::byte> atLeast(size_t n) {
    size_t have = left.size();
    while (have < n) {
      size_t more = readMore(buffer.slice(have, buffer.size()));
      if (more == 0) break;
      have += more;
    }
    return left = buffer.slice(0, have);
  }

 private:
  ReadBytes readMore;
  kj::Array<kj::byte> buffer;
  kj::ArrayPtr<const kj::byte> left;
};

void copyPlain(Input& input, WriteBytes& write) {
  for (auto bytes = input.available(); bytes.size() > 0; bytes = input.available()) {
    write(bytes);
    input.consume(bytes.size());
  }
}

// One gzip member. ISA-L answers 0 for a truncated stream as well: only the state FINISH means that
// the trailer was read and its checksum is right.
void inflateMember(inflate_state& state, Input& input, kj::ArrayPtr<kj::byte> out,
                   WriteBytes& write) {
  isal_inflate_reset(&state);
  state.crc_flag = ISAL_GZIP;
  while (state.block_state != ISAL_BLOCK_FINISH) {
    auto bytes = input.available();
    state.next_in = const_cast<kj::byte*>(bytes.begin());
    state.avail_in = bytes.size();
    state.next_out = out.begin();
    state.avail_out = out.size();
    int result = isal_inflate(&state);
    if (result != ISAL_DECOMP_OK && result != ISAL_END_INPUT) {
      failPull(FailureCode::INVALID, "the layer's gzip stream is damaged (igzip error ", result,
               ")");
    }
    input.consume(bytes.size() - state.avail_in);
    size_t produced = out.size() - state.avail_out;
    if (produced > 0) write(out.slice(0, produced));
    if (bytes.size() == 0 && produced == 0 && state.block_state != ISAL_BLOCK_FINISH) {
      failPull(FailureCode::INVALID, "the layer's gzip stream ends in the middle");
    }
  }
}

void skipZeroes(Input& input) {
  for (auto bytes = input.available(); bytes.size() > 0; bytes = input.available()) {
    size_t zeroes = 0;
    while (zeroes < bytes.size() && bytes[zeroes] == 0)
      ++zeroes;
    input.consume(zeroes);
    if (zeroes < bytes.size()) return;
  }
}

// ISA-L stops after the first member; eStargz layers have one for each file.
void inflateAll(Input& input, WriteBytes& write) {
  auto out = kj::heapArray<kj::byte>(PIPE_CHUNK_BYTES);
  auto state = kj::heap<inflate_state>();
  isal_inflate_init(state);
  do {
    if (input.available()[0] != 0x1f) {
      failPull(FailureCode::INVALID, "the layer's blob has bytes after its gzip stream");
    }
    inflateMember(*state, input, out, write);
    skipZeroes(input);
  } while (input.available().size() > 0);
}

// libzstd goes through frames and skippable frames by itself, and refuses windows above 128 MiB,
// which bounds the memory that a layer can ask for.
void unzstdAll(Input& input, WriteBytes& write) {
  std::unique_ptr<ZSTD_DStream, decltype(&ZSTD_freeDStream)> stream(ZSTD_createDStream(),
                                                                    &ZSTD_freeDStream);
  KJ_REQUIRE(stream != nullptr, "no memory for zstd");
  auto out = kj::heapArray<kj::byte>(PIPE_CHUNK_BYTES);
  size_t wanted = 0;
  bool full = false;
  for (;;) {
    auto bytes = input.available();
    if (bytes.size() == 0 && !full) break;
    ZSTD_inBuffer in{bytes.begin(), bytes.size(), 0};
    ZSTD_outBuffer produced{out.begin(), out.size(), 0};
    wanted = ZSTD_decompressStream(stream.get(), &produced, &in);
    if (ZSTD_isError(wanted)) {
      failPull(FailureCode::INVALID,
               "the layer's zstd stream is damaged: ", ZSTD_getErrorName(wanted));
    }
    input.consume(in.pos);
    if (produced.pos > 0) write(out.slice(0, produced.pos));
    // A full output buffer may hide more output that needs no further input.
    full = produced.pos == produced.size && wanted != 0;
  }
  if (wanted != 0) failPull(FailureCode::INVALID, "the layer's zstd stream ends in the middle");
}

}  // namespace

Compression compressionOfContent(kj::ArrayPtr<const kj::byte> first) {
  if (first.size() >= 2 && first[0] == 0x1f && first[1] == 0x8b) return Compression::GZIP;
  if (first.size() >= 4) {
    uint32_t magic = first[0] | first[1] << 8 | first[2] << 16 | uint32_t{first[3]} << 24;
    constexpr uint32_t SKIPPABLE_FRAME = 0x184D2A50;  // and the 15 values after it
    if (magic == ZSTD_MAGICNUMBER || (magic & ~uint32_t{15}) == SKIPPABLE_FRAME) {
      return Compression::ZSTD;
    }
  }
  return Compression::NONE;
}

void decompress(ReadBytes read, WriteBytes write) {
  Input input(kj::mv(read));
  switch (compressionOfContent(input.atLeast(4))) {
    case Compression::NONE:
      return copyPlain(input, write);
    case Compression::GZIP:
      return inflateAll(input, write);
    case Compression::ZSTD:
      return unzstdAll(input, write);
  }
}

int decompressMain(kj::StringPtr mediaType) {
  return reportOutcome(REPORT_FD, [&]() -> kj::Maybe<kj::String> {
    closeAllAbove(REPORT_FD);
    if (compressionOfMediaType(mediaType) == nullptr) {
      failPull(FailureCode::UNSUPPORTED, "layers of media type \"", mediaType,
               "\" cannot be unpacked");
    }
    widenPipe(STDOUT_FILENO);
    confineToPipes();
    FAILPOINT("pull.decompress/before-first-byte");
    decompress([](kj::ArrayPtr<kj::byte> buffer) { return readSome(STDIN_FILENO, buffer); },
               [](kj::ArrayPtr<const kj::byte> bytes) { writeAll(STDOUT_FILENO, bytes); });
    FAILPOINT("pull.decompress/before-report");
    return nullptr;
  });
}

}  // namespace belay::snapshot
