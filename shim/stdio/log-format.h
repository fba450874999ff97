// The CRI log format: what a container wrote, cut into lines that kubelet and crictl can read.
//
//   2026-01-02T03:04:05.000000006Z stdout F a whole line
//   2026-01-02T03:04:05.000000007Z stderr P the first part of a line longer than a record may be
#pragma once

#include <kj/common.h>
#include <kj/vector.h>
#include <stdint.h>

namespace belay::shim {

enum class LogStream : uint8_t { OUT, ERR };

// Whether what is given is all there will ever be.
enum class LogInput : uint8_t { MORE_TO_COME, LAST };

// Cuts one stream into records. It holds no bytes: what is not yet a record stays with the caller,
// who gives it again with what follows.
class LogFormatter {
 public:
  // Records hold at most `maxLineBytes` of content (0: any length up to what is given at once).
  LogFormatter(LogStream stream, size_t maxLineBytes);

  struct Result {
    size_t consumed;  // bytes of `input` that are in `output` now
    size_t records;
  };

  // Appends records to `output` for as much of `input` as makes records, until `output` holds
  // `outputLimit` bytes (the last record may go over it). `nowNs` gives CLOCK_REALTIME for each
  // record. With LAST an unterminated rest becomes a P record, as the peers do.
  Result format(kj::ArrayPtr<const kj::byte> input, LogInput more, kj::Vector<kj::byte>& output,
                size_t outputLimit, int64_t (*nowNs)());

  // True between a P record and the F record that ends its line: not the place to change files.
  bool midLine() const { return isMidLine; }
  void setMidLine(bool value) { isMidLine = value; }

 private:
  void append(kj::Vector<kj::byte>& output, int64_t timeNs, char tag,
              kj::ArrayPtr<const kj::byte> content);
  void appendTime(kj::Vector<kj::byte>& output, int64_t timeNs);

  LogStream stream;
  size_t maxLineBytes;
  bool isMidLine = false;
  int64_t cachedSecond = -1;
  char cachedPrefix[20];  // "2026-01-02T03:04:05." of cachedSecond
};

}  // namespace belay::shim
