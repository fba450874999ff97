// Tests for failures as gRPC statuses.
#include "criapi/failure-status.h"

#include <gtest/gtest.h>
#include <kj/debug.h>

#include "snapshot/failure.h"

namespace belay::criapi {
namespace {

TEST(FailureStatus, KeepsCodeAndSentence) {
  auto status =
      statusOfFailure(snapshot::failure(snapshot::Code::NOT_FOUND, "container abc is not here"));
  EXPECT_EQ(status.code, grpc::Code::NOT_FOUND);
  EXPECT_EQ(status.message, "container abc is not here"_kj);
}

TEST(FailureStatus, EveryCodeHasItsNamesakeOnTheWire) {
  for (int i = 0; i <= static_cast<int>(snapshot::Code::INTERNAL); ++i) {
    auto code = static_cast<snapshot::Code>(i);
    auto status = statusOfFailure(snapshot::failure(code, "x"));
    EXPECT_EQ(grpc::nameOf(status.code), snapshot::nameOf(code));
  }
}

TEST(FailureStatus, OtherExceptionsAreInternal) {
  auto status = statusOfFailure(KJ_EXCEPTION(FAILED, "something broke"));
  EXPECT_EQ(status.code, grpc::Code::INTERNAL);
  EXPECT_NE(strstr(status.message.cStr(), "something broke"), nullptr);
}

}  // namespace
}  // namespace belay::criapi
