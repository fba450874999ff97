// Tests of log.h: values stay on their line and between their quotes.
#include "supervisor/log.h"

#include <gtest/gtest.h>
#include <kj/debug.h>
#include <kj/function.h>

namespace belay::supervisor {
namespace {

std::string logged(kj::Function<void()> action) {
  testing::internal::CaptureStderr();
  action();
  return testing::internal::GetCapturedStderr();
}

TEST(Log, QuotesWhatIsNotPlain) {
  EXPECT_STREQ("plain-1.2:/x", quoteForLog("plain-1.2:/x").cStr());
  EXPECT_STREQ("\"\"", quoteForLog("").cStr());
  EXPECT_STREQ("\"two words\"", quoteForLog("two words").cStr());
  EXPECT_STREQ("\"a=b\"", quoteForLog("a=b").cStr());
  EXPECT_STREQ(R"("say \"no\" \\")", quoteForLog(R"(say "no" \)").cStr());
  EXPECT_STREQ(R"("line\nfake line")", quoteForLog("line\nfake line").cStr());
  EXPECT_STREQ("\"bell?\"", quoteForLog("bell\a").cStr());
}

TEST(Log, WritesOneLine) {
  auto line = logged([] { log(LogLevel::WARNING, "a\nb", "pod", "p1", "count", 3); });
  EXPECT_EQ(1, std::count(line.begin(), line.end(), '\n'));
  EXPECT_NE(std::string::npos, line.find("Z warning a\\nb pod=p1 count=3\n")) << line;
}

TEST(Log, LeavesOutWhatIsBelowTheLevel) {
  setLogLevel(LogLevel::WARNING);
  EXPECT_EQ("", logged([] { log(LogLevel::INFO, "quiet"); }));
  setLogLevel(LogLevel::DEBUG);
  EXPECT_NE("", logged([] { log(LogLevel::DEBUG, "loud"); }));
  setLogLevel(LogLevel::INFO);
}

TEST(Log, CapturesKjsMessages) {
  LogCapture capture;
  auto line = logged([] { KJ_LOG(ERROR, "something broke", 5); });
  EXPECT_NE(std::string::npos, line.find(" error something broke; 5 = 5 at=")) << line;
  EXPECT_EQ(1, std::count(line.begin(), line.end(), '\n'));
}

}  // namespace
}  // namespace belay::supervisor
