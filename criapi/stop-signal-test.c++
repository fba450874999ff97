// Tests for signals between the CRI's enum and Linux's numbers.
#include "criapi/stop-signal.h"

#include <gtest/gtest.h>
#include <signal.h>

#include "criapi/testing.h"

namespace belay::criapi {
namespace {

const Field FIELD("stop_signal");

TEST(StopSignal, NamesHaveLinuxNumbers) {
  EXPECT_EQ(signalNumber(runtime::v1::SIGNAL_RUNTIME_DEFAULT, FIELD), 0);
  EXPECT_EQ(signalNumber(runtime::v1::SIGNAL_SIGTERM, FIELD), SIGTERM);
  EXPECT_EQ(signalNumber(runtime::v1::SIGNAL_SIGXFSZ, FIELD), SIGXFSZ);
  EXPECT_EQ(signalNumber(runtime::v1::SIGNAL_SIGRTMIN, FIELD), 34);
  EXPECT_EQ(signalNumber(runtime::v1::SIGNAL_SIGRTMINPLUS3, FIELD), 37);
  EXPECT_EQ(signalNumber(runtime::v1::SIGNAL_SIGRTMAXMINUS14, FIELD), 50);
  EXPECT_EQ(signalNumber(runtime::v1::SIGNAL_SIGRTMAX, FIELD), SIGRTMAX);
}

TEST(StopSignal, EveryEnumValueComesBackAsTheSameSignal) {
  for (int value = 1; value < runtime::v1::Signal_ARRAYSIZE; ++value) {
    auto number = signalNumber(static_cast<runtime::v1::Signal>(value), FIELD);
    ASSERT_GT(number, 0) << value;
    EXPECT_EQ(signalNumber(signalOfNumber(number), FIELD), number) << value;
  }
}

TEST(StopSignal, OfTwoNamesTheUsualOneIsTold) {
  EXPECT_EQ(signalOfNumber(SIGCHLD), runtime::v1::SIGNAL_SIGCHLD);
  EXPECT_EQ(signalOfNumber(SIGIO), runtime::v1::SIGNAL_SIGIO);
  EXPECT_EQ(signalOfNumber(SIGABRT), runtime::v1::SIGNAL_SIGABRT);
}

TEST(StopSignal, UnknownNumbersAreRefusedOrUnnamed) {
  EXPECT_EQ(refusal([]() { signalNumber(static_cast<runtime::v1::Signal>(66), FIELD); }),
            "stop_signal: there is no signal 66 in the CRI");
  EXPECT_EQ(refusal([]() { signalNumber(static_cast<runtime::v1::Signal>(-1), FIELD); }),
            "stop_signal: there is no signal -1 in the CRI");
  EXPECT_EQ(signalOfNumber(32), runtime::v1::SIGNAL_RUNTIME_DEFAULT);
  EXPECT_EQ(signalOfNumber(65), runtime::v1::SIGNAL_RUNTIME_DEFAULT);
}

}  // namespace
}  // namespace belay::criapi
