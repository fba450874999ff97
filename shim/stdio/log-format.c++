// Implementation of log-format.h.
#include "shim/stdio/log-format.h"

#include <kj/debug.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

namespace belay::shim {
namespace {

constexpr int64_t NS_PER_SECOND = 1'000'000'000;

kj::ArrayPtr<const kj::byte> withoutCarriageReturn(kj::ArrayPtr<const kj::byte> line) {
  if (line.size() > 0 && line.back() == '\r') return line.slice(0, line.size() - 1);
  return line;
}

}  // namespace

LogFormatter::LogFormatter(LogStream stream, size_t maxLineBytes)
    : stream(stream), maxLineBytes(maxLineBytes == 0 ? size_t(kj::maxValue) / 2 : maxLineBytes) {}

LogFormatter::Result LogFormatter::format(kj::ArrayPtr<const kj::byte> input, LogInput more,
                                          kj::Vector<kj::byte>& output, size_t outputLimit,
                                          int64_t (*nowNs)()) {
  Result result{0, 0};
  while (result.consumed < input.size() && output.size() < outputLimit) {
    auto rest = input.slice(result.consumed, input.size());
    // A line as long as a record may be still has its end ("\n" or "\r\n") behind it.
    auto window = rest.slice(0, kj::min(rest.size(), maxLineBytes + 2));
    auto newline = static_cast<const kj::byte*>(memchr(window.begin(), '\n', window.size()));
    if (newline != nullptr) {
      auto line = withoutCarriageReturn(kj::arrayPtr(window.begin(), newline));
      if (line.size() <= maxLineBytes) {
        append(output, nowNs(), 'F', line);
        result.consumed += newline - window.begin() + 1;
        result.records++;
        continue;
      }
    }
    if (window.size() > maxLineBytes && (newline != nullptr || window.size() == maxLineBytes + 2)) {
      append(output, nowNs(), 'P', window.slice(0, maxLineBytes));
      result.consumed += maxLineBytes;
    } else if (more == LogInput::LAST) {
      auto part = window.slice(0, kj::min(window.size(), maxLineBytes));
      append(output, nowNs(), 'P', part);
      result.consumed += part.size();
    } else {
      break;
    }
    result.records++;
  }
  return result;
}

void LogFormatter::append(kj::Vector<kj::byte>& output, int64_t timeNs, char tag,
                          kj::ArrayPtr<const kj::byte> content) {
  appendTime(output, timeNs);
  output.addAll((stream == LogStream::OUT ? kj::StringPtr("Z stdout ") : kj::StringPtr("Z stderr "))
                    .asBytes());
  output.add(tag);
  output.add(' ');
  output.addAll(content);
  output.add('\n');
  isMidLine = tag == 'P';
}

// RFC3339Nano with all nine digits: readers accept them, and lines stay aligned.
void LogFormatter::appendTime(kj::Vector<kj::byte>& output, int64_t timeNs) {
  int64_t second = timeNs / NS_PER_SECOND;
  if (second != cachedSecond) {
    time_t time = second;
    struct tm parts;
    KJ_REQUIRE(gmtime_r(&time, &parts) != nullptr && parts.tm_year < 8100, "bad clock", second);
    // strftime leaves a NUL after the 20 bytes it is asked for.
    char text[sizeof(cachedPrefix) + 1];
    KJ_ASSERT(strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S.", &parts) == sizeof(cachedPrefix));
    memcpy(cachedPrefix, text, sizeof(cachedPrefix));
    cachedSecond = second;
  }
  output.addAll(kj::arrayPtr(cachedPrefix, sizeof(cachedPrefix)).asBytes());
  kj::byte digits[9];
  int64_t rest = timeNs % NS_PER_SECOND;
  for (int i = 8; i >= 0; i--) {
    digits[i] = '0' + rest % 10;
    rest /= 10;
  }
  output.addAll(kj::arrayPtr(digits, sizeof(digits)));
}

}  // namespace belay::shim
