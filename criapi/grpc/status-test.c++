// Tests of statuses, their messages' encoding, and UTF-8 repair.
#include "criapi/grpc/status.h"

#include <gtest/gtest.h>
#include <kj/debug.h>

#include <string>

#include "criapi/grpc/utf8.h"

namespace belay::criapi::grpc {

namespace {

std::string encoded(const std::string& message) {
  return encodeMessage(message.c_str()).cStr();
}

std::string sanitized(const std::string& bytes) {
  return sanitizeUtf8(kj::arrayPtr(bytes.data(), bytes.size())).cStr();
}

TEST(EncodeMessage, LeavesPrintableAscii) {
  EXPECT_EQ(encoded("layer: step (object) ~ \"hint\""), "layer: step (object) ~ \"hint\"");
  EXPECT_EQ(encoded(""), "");
}

TEST(EncodeMessage, EncodesPercentControlsAndUtf8) {
  EXPECT_EQ(encoded("100%\n"), "100%25%0A");
  EXPECT_EQ(encoded("\x7F"), "%7F");
  EXPECT_EQ(encoded("kůň"), "k%C5%AF%C5%88");
}

TEST(EncodeMessage, ReplacesWhatIsNoUtf8) {
  EXPECT_EQ(encoded("a\xFFz"), "a%EF%BF%BDz");
}

TEST(EncodeMessage, KeepsTheLongestAllowedMessageWhole) {
  std::string longest(MAX_ENCODED_MESSAGE_BYTES, 'x');
  EXPECT_EQ(encoded(longest), longest);
}

TEST(EncodeMessage, CutsLongMessagesBetweenCharacters) {
  const std::string ellipsis = "%E2%80%A6";
  auto ascii = encoded(std::string(MAX_ENCODED_MESSAGE_BYTES + 1, 'x'));
  EXPECT_EQ(ascii.size(), MAX_ENCODED_MESSAGE_BYTES);
  EXPECT_TRUE(ascii.ends_with("x" + ellipsis));

  // Every shift makes the limit fall on another byte of the four-byte character.
  for (size_t shift = 0; shift < 12; ++shift) {
    std::string text(shift, 'x');
    for (int i = 0; i < 5000; ++i)
      text += "🐎";
    auto cut = encoded(text);
    EXPECT_LE(cut.size(), MAX_ENCODED_MESSAGE_BYTES);
    EXPECT_TRUE(cut.ends_with("%F0%9F%90%8E" + ellipsis)) << cut.substr(cut.size() - 40);
  }
}

TEST(StatusOfKjException, MapsKjTypes) {
  auto codeOf = [](kj::Exception::Type type) {
    return statusOfKjException(kj::Exception(type, __FILE__, __LINE__, kj::str("why"))).code;
  };
  EXPECT_EQ(codeOf(kj::Exception::Type::FAILED), Code::INTERNAL);
  EXPECT_EQ(codeOf(kj::Exception::Type::DISCONNECTED), Code::UNAVAILABLE);
  EXPECT_EQ(codeOf(kj::Exception::Type::OVERLOADED), Code::RESOURCE_EXHAUSTED);
  EXPECT_EQ(codeOf(kj::Exception::Type::UNIMPLEMENTED), Code::UNIMPLEMENTED);
}

TEST(StatusOfKjException, TellsTheDescription) {
  auto status = statusOfKjException(KJ_EXCEPTION(FAILED, "why"));
  EXPECT_STREQ(status.message.cStr(), "why");
}

TEST(Utf8, AcceptsWhatIsWellFormed) {
  for (const char* text :
       {"", "ascii", "ů", "€", "🐎", "\xED\x9F\xBF", "\xEE\x80\x80", "\xF4\x8F\xBF\xBF"}) {
    EXPECT_TRUE(isUtf8(kj::StringPtr(text))) << text;
    EXPECT_EQ(sanitized(text), text);
  }
}

TEST(Utf8, RefusesOverlongSurrogatesAndTooLarge) {
  for (const char* text :
       {"\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF",
        "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\x80", "\xFF", "\xE2\x82", "\xF0\x9F\x90"}) {
    EXPECT_FALSE(isUtf8(kj::StringPtr(text)));
    auto repaired = sanitized(text);
    EXPECT_TRUE(isUtf8(kj::arrayPtr(repaired.data(), repaired.size())));
  }
}

TEST(Utf8, ReplacesEachMaximalIllFormedPartOnce) {
  // The example of the Unicode standard, section 3.9, table 3-11.
  EXPECT_EQ(sanitized("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), "\uFFFD\uFFFD\uFFFD\uFFFDA");
  EXPECT_EQ(sanitized("a\xF0\x9F\x90"), "a\uFFFD");
}

TEST(Utf8, KeepsNulBytes) {
  auto text = sanitizeUtf8(kj::arrayPtr("a\0b", 3));
  EXPECT_EQ(text.size(), 3u);
}

}  // namespace

}  // namespace belay::criapi::grpc
