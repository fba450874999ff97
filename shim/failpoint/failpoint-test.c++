// Tests of failpoint.h, with two points of their own.
#include "failpoint/failpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <kj/async-io.h>
#include <kj/debug.h>
#include <kj/vector.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

namespace belay::failpoint {
namespace {

using testing::HasSubstr;

void pass() {
  FAILPOINT("test.plain");
}

kj::Promise<void> passAsync(kj::Timer& timer) {
  CO_FAILPOINT(timer, "test.async");
  co_return;
}

// Why it could not be set; empty if it was.
std::string fault(kj::StringPtr name, kj::StringPtr action) {
  KJ_IF_MAYBE (sentence, set(name, action)) return sentence->cStr();
  return "";
}

std::string failureOf(void (*function)()) {
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&] { function(); })) {
    return exception->getDescription().cStr();
  }
  return "";
}

class FailpointTest : public testing::Test {
 protected:
  ~FailpointTest() {
    EXPECT_EQ(fault("test.plain", "off"), "");
    EXPECT_EQ(fault("test.async", "off"), "");
    unsetenv("BELAY_FAILPOINTS");
  }
};

TEST_F(FailpointTest, IsListedThoughNeverPassed) {
  kj::Vector<kj::String> names;
  for (auto& point : list())
    names.add(kj::str(point.name, ' ', point.action));
  EXPECT_EQ(kj::strArray(names, ", "), "test.async off, test.plain off");
}

TEST_F(FailpointTest, FailsOnceAndNamesItself) {
  EXPECT_EQ(failureOf(pass), "");
  EXPECT_EQ(fault("test.plain", "fail"), "");
  EXPECT_THAT(failureOf(pass), HasSubstr("test.plain"));
  EXPECT_EQ(failureOf(pass), "");
}

TEST_F(FailpointTest, FailsAsOftenAsItIsToldFromThePassItIsTold) {
  EXPECT_EQ(fault("test.plain", "fail*2@3"), "");
  EXPECT_EQ(failureOf(pass), "");
  EXPECT_EQ(failureOf(pass), "");
  EXPECT_NE(failureOf(pass), "");
  EXPECT_NE(failureOf(pass), "");
  EXPECT_EQ(failureOf(pass), "");
}

TEST_F(FailpointTest, IsNotPassedBeforeItsDelayEnded) {
  auto io = kj::setupAsyncIo();
  kj::TimerImpl timer(kj::origin<kj::TimePoint>());
  EXPECT_EQ(fault("test.async", "delay:1000"), "");
  auto passing = passAsync(timer);
  EXPECT_FALSE(passing.poll(io.waitScope));
  timer.advanceTo(timer.now() + 999 * kj::MILLISECONDS);
  EXPECT_FALSE(passing.poll(io.waitScope));
  timer.advanceTo(timer.now() + 1 * kj::MILLISECONDS);
  EXPECT_TRUE(passing.poll(io.waitScope));
  EXPECT_TRUE(passAsync(timer).poll(io.waitScope));
}

TEST_F(FailpointTest, KillsItsProcess) {
  pid_t child = fork();
  if (child == 0) {
    if (set("test.plain", "kill") == nullptr) pass();
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
}

TEST_F(FailpointTest, RefusesNamesAndActionsThatAreNone) {
  EXPECT_THAT(fault("test.plian", "fail"), HasSubstr("no failpoint test.plian"));
  for (auto action : {"", "die", "fail*0", "fail*x", "kill@0", "delay", "delay:", "delay:-1"}) {
    EXPECT_THAT(fault("test.plain", action), HasSubstr("is no action")) << action;
  }
}

TEST_F(FailpointTest, TakesItsOwnFromTheEnvironmentAndHandsTheRestOn) {
  setenv("BELAY_FAILPOINTS", "test.plain=fail;pull.unpack/x=kill;shim.a=delay:5*2;shim.b=fail", 1);
  readEnvironment("test.");
  EXPECT_NE(failureOf(pass), "");
  EXPECT_EQ(KJ_ASSERT_NONNULL(environmentFor("shim.")),
            "BELAY_FAILPOINTS=shim.a=delay:5*2;shim.b=fail");
  EXPECT_EQ(KJ_ASSERT_NONNULL(environmentFor("pull.")), "BELAY_FAILPOINTS=pull.unpack/x=kill");
  EXPECT_TRUE(environmentFor("session.") == nullptr);
  EXPECT_TRUE(setForChildren("pull.unpack/x", "off") == nullptr);
  EXPECT_TRUE(environmentFor("pull.") == nullptr);
}

TEST_F(FailpointTest, RefusesAnEnvironmentItCannotFollow) {
  for (auto list : {"test.none=fail", "test.plain=die", "test.plain"}) {
    setenv("BELAY_FAILPOINTS", list, 1);
    EXPECT_THROW(readEnvironment("test."), kj::Exception) << list;
  }
}

}  // namespace
}  // namespace belay::failpoint
