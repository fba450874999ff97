// Tests that a failure keeps its code and its sentence on the way to belayd.
#include "snapshot/pull/pull-error.h"

#include <gtest/gtest.h>
#include <kj/debug.h>

#include <string>

namespace belay::snapshot {
namespace {

TEST(PullError, KeepsCodeAndSentence) {
  auto e = pullError(FailureCode::DIGEST_MISMATCH, "blob x: other bytes");
  EXPECT_EQ(pullErrorCode(e), FailureCode::DIGEST_MISMATCH);
  EXPECT_EQ(pullErrorSentence(e), "blob x: other bytes");
}

TEST(PullError, OfAnyOtherExceptionIsInternal) {
  auto e = kj::runCatchingExceptions([]() { KJ_FAIL_REQUIRE("notFoundAtAll: really"); });
  auto& exception = KJ_ASSERT_NONNULL(e);
  EXPECT_EQ(pullErrorCode(exception), FailureCode::INTERNAL);
  EXPECT_NE(std::string(pullErrorSentence(exception).cStr()).find("notFoundAtAll"),
            std::string::npos);
}

TEST(PullError, IsOneBoundedLine) {
  EXPECT_EQ(oneLine("a\nb\x1b[2Jc\x7f", 100), "a?b?[2Jc?");
  EXPECT_EQ(oneLine("0123456789", 4), "0123");
  auto e = pullError(FailureCode::INVALID, std::string(100'000, 'x').c_str());
  EXPECT_EQ(pullErrorSentence(e).size(), MAX_SENTENCE_BYTES);
}

}  // namespace
}  // namespace belay::snapshot
