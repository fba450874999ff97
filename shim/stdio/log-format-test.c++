// Tests of log-format.h: where lines are cut, and how records look.
#include "shim/stdio/log-format.h"

#include <gtest/gtest.h>
#include <kj/string.h>

namespace belay::shim {
namespace {

int64_t fixedNow() {
  return 1767323045'000000006;
}  // 2026-01-02T03:04:05.000000006Z

constexpr char OUT_PREFIX[] = "2026-01-02T03:04:05.000000006Z stdout ";

struct Formatted {
  std::string text;
  size_t consumed;
};

Formatted format(LogFormatter& formatter, std::string_view input,
                 LogInput more = LogInput::MORE_TO_COME, size_t limit = 1 << 20) {
  kj::Vector<kj::byte> output;
  auto result = formatter.format(kj::arrayPtr(input.data(), input.size()).asBytes(), more, output,
                                 limit, fixedNow);
  return {std::string(reinterpret_cast<char*>(output.begin()), output.size()), result.consumed};
}

std::string record(char tag, std::string_view content) {
  return std::string(OUT_PREFIX) + tag + " " + std::string(content) + "\n";
}

TEST(LogFormatTest, WholeLinesBecomeRecordsAndTheRestStays) {
  LogFormatter formatter(LogStream::OUT, 16384);
  auto result = format(formatter, "one\n\nthree\nhalf");
  EXPECT_EQ(result.text, record('F', "one") + record('F', "") + record('F', "three"));
  EXPECT_EQ(result.consumed, 11u);
  EXPECT_FALSE(formatter.midLine());
}

TEST(LogFormatTest, StderrIsNamed) {
  LogFormatter formatter(LogStream::ERR, 16384);
  EXPECT_EQ(format(formatter, "x\n").text, "2026-01-02T03:04:05.000000006Z stderr F x\n");
}

TEST(LogFormatTest, ALineOfExactlyTheLimitIsWhole) {
  LogFormatter formatter(LogStream::OUT, 4);
  EXPECT_EQ(format(formatter, "abcd\n").text, record('F', "abcd"));
  EXPECT_EQ(format(formatter, "abcd\r\n").text, record('F', "abcd"));
}

TEST(LogFormatTest, ALineOfTheLimitWaitsForItsEnd) {
  LogFormatter formatter(LogStream::OUT, 4);
  EXPECT_EQ(format(formatter, "abcd").consumed, 0u);
  EXPECT_EQ(format(formatter, "abcd\r").consumed, 0u);
}

TEST(LogFormatTest, ALongerLineIsCut) {
  LogFormatter formatter(LogStream::OUT, 4);
  auto result = format(formatter, "abcdefghij\n");
  EXPECT_EQ(result.text, record('P', "abcd") + record('P', "efgh") + record('F', "ij"));
  EXPECT_EQ(result.consumed, 11u);
  EXPECT_EQ(format(formatter, "abcde\n").text, record('P', "abcd") + record('F', "e"));
}

TEST(LogFormatTest, TheEndOfACutLineMayBeEmptyOnlyIfTheCarriageReturnIsContent) {
  LogFormatter formatter(LogStream::OUT, 4);
  EXPECT_EQ(format(formatter, "abcd\rx\n").text, record('P', "abcd") + record('F', "\rx"));
}

TEST(LogFormatTest, MidLineIsKnownBetweenPartAndEnd) {
  LogFormatter formatter(LogStream::OUT, 4);
  auto first = format(formatter, "abcdefg");
  EXPECT_EQ(first.text, record('P', "abcd"));
  EXPECT_TRUE(formatter.midLine());
  EXPECT_EQ(format(formatter, "efg\n").text, record('F', "efg"));
  EXPECT_FALSE(formatter.midLine());
}

TEST(LogFormatTest, AnUnterminatedRestAtTheEndIsAPart) {
  LogFormatter formatter(LogStream::OUT, 4);
  EXPECT_EQ(format(formatter, "a\nrest!", LogInput::LAST).text,
            record('F', "a") + record('P', "rest") + record('P', "!"));
}

TEST(LogFormatTest, StopsAtTheOutputLimitAndGoesOnLater) {
  LogFormatter formatter(LogStream::OUT, 16384);
  auto first = format(formatter, "one\ntwo\nthree\n", LogInput::MORE_TO_COME, 1);
  EXPECT_EQ(first.text, record('F', "one"));
  EXPECT_EQ(first.consumed, 4u);
}

TEST(LogFormatTest, BytesAreKeptAsTheyAre) {
  LogFormatter formatter(LogStream::OUT, 16384);
  std::string odd("\0\xff\x1b[1m", 6);
  EXPECT_EQ(format(formatter, odd + "\n").text, record('F', odd));
}

TEST(LogFormatTest, CutAnywhereTheResultIsTheSame) {
  std::string input = "first\nsecond line\r\n\n0123456789abcdef0123456789\nlast";
  LogFormatter whole(LogStream::OUT, 8);
  auto expected = format(whole, input, LogInput::LAST).text;
  for (size_t step = 1; step < input.size(); step++) {
    LogFormatter formatter(LogStream::OUT, 8);
    std::string text;
    size_t consumed = 0;
    for (size_t end = 0; end < input.size();) {
      end = std::min(input.size(), end + step);
      auto more = end == input.size() ? LogInput::LAST : LogInput::MORE_TO_COME;
      auto part = format(formatter, std::string_view(input).substr(consumed, end - consumed), more);
      text += part.text;
      consumed += part.consumed;
    }
    EXPECT_EQ(text, expected) << "in steps of " << step;
    EXPECT_EQ(consumed, input.size());
  }
}

}  // namespace
}  // namespace belay::shim
