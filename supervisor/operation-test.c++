// Tests of operation.h and turns.h: joining, giving up, stages in errors, deadlines, order.
#include "supervisor/operation.h"

#include <gtest/gtest.h>
#include <kj/async-io.h>
#include <kj/debug.h>

#include "snapshot/failure.h"
#include "supervisor/turns.h"

namespace belay::supervisor {
namespace {

class OperationTest : public testing::Test {
 public:
  ~OperationTest() noexcept override = default;

  kj::EventLoop loop;
  kj::WaitScope waitScope{loop};
  kj::TimerImpl timer{kj::origin<kj::TimePoint>()};
  Operations operations{timer};

  void advance(kj::Duration duration) {
    timer.advanceTo(timer.now() + duration);
    loop.run();
  }
};

kj::String failureOf(kj::Promise<kj::String> promise, kj::WaitScope& waitScope) {
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&] { promise.wait(waitScope); })) {
    return kj::str(exception->getDescription());
  }
  return kj::str("no failure");
}

TEST_F(OperationTest, GivesTheResult) {
  auto result = operations.run(
      kj::str("one"), [](Operation&) -> kj::Promise<kj::String> { co_return kj::str("id"); });
  EXPECT_STREQ("id", result.wait(waitScope).cStr());
  EXPECT_EQ(0u, operations.list().size());
}

TEST_F(OperationTest, ARepeatedRequestJoins) {
  auto paf = kj::newPromiseAndFulfiller<kj::String>();
  int runs = 0;
  auto work = [&](Operation&) {
    ++runs;
    return kj::mv(paf.promise);
  };
  auto first = operations.run(kj::str("same"), work);
  auto second = operations.run(kj::str("same"), work);
  loop.run();
  EXPECT_EQ(1, runs);
  EXPECT_EQ(1u, operations.list().size());
  paf.fulfiller->fulfill(kj::str("id"));
  EXPECT_STREQ("id", first.wait(waitScope).cStr());
  EXPECT_STREQ("id", second.wait(waitScope).cStr());
}

TEST_F(OperationTest, ARequestForSomethingElseUnderTheSameNameIsRefused) {
  auto work = [](Operation&) -> kj::Promise<kj::String> { return kj::NEVER_DONE; };
  auto first = operations.run(kj::str("same"), kj::StringPtr("a").asBytes(), work);
  auto joined = operations.run(kj::str("same"), kj::StringPtr("a").asBytes(), work);
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&] {
                 auto other = operations.run(kj::str("same"), kj::StringPtr("b").asBytes(), work);
               })) {
    EXPECT_EQ(snapshot::Code::ALREADY_EXISTS, snapshot::codeOf(*exception));
  } else {
    ADD_FAILURE() << "it was not refused";
  }
}

TEST_F(OperationTest, GoesOnWhenTheCallerGivesUpAndIsJoinedAgain) {
  auto paf = kj::newPromiseAndFulfiller<kj::String>();
  int runs = 0;
  auto work = [&](Operation&) {
    ++runs;
    return kj::mv(paf.promise);
  };
  {
    auto givenUp = operations.run(kj::str("same"), work);
    loop.run();
  }
  auto again = operations.run(kj::str("same"), work);
  paf.fulfiller->fulfill(kj::str("id"));
  EXPECT_STREQ("id", again.wait(waitScope).cStr());
  EXPECT_EQ(1, runs);
}

TEST_F(OperationTest, RunsAnewOnceItHasEnded) {
  int runs = 0;
  for (int i = 0; i < 2; ++i) {
    operations
        .run(kj::str("same"),
             [&](Operation&) -> kj::Promise<kj::String> {
               ++runs;
               co_return kj::String();
             })
        .wait(waitScope);
  }
  EXPECT_EQ(2, runs);
}

TEST_F(OperationTest, WhatIsHeldWaitsAndWhatRunsCanBeJoined) {
  auto paf = kj::newPromiseAndFulfiller<kj::String>();
  auto first = operations.run(kj::str("runs"), [&](Operation&) { return kj::mv(paf.promise); });
  operations.hold();
  int begun = 0;
  auto second = operations.run(kj::str("new"), [&](Operation&) -> kj::Promise<kj::String> {
    ++begun;
    co_return kj::String();
  });
  auto joined = operations.run(kj::str("runs"), [&](Operation&) -> kj::Promise<kj::String> {
    ++begun;
    co_return kj::String();
  });
  loop.run();
  EXPECT_FALSE(operations.whenIdle().poll(waitScope));
  paf.fulfiller->fulfill(kj::str("id"));
  EXPECT_STREQ("id", first.wait(waitScope).cStr());
  EXPECT_STREQ("id", joined.wait(waitScope).cStr());
  EXPECT_TRUE(operations.whenIdle().poll(waitScope));
  EXPECT_FALSE(second.poll(waitScope));
  EXPECT_EQ(0, begun);
}

TEST_F(OperationTest, AllWorkCanBeDropped) {
  bool dropped = false;
  auto result = operations.run(kj::str("runs"), [&](Operation&) -> kj::Promise<kj::String> {
    KJ_DEFER(dropped = true);
    co_await kj::Promise<void>(kj::NEVER_DONE);
    co_return kj::String();
  });
  loop.run();
  operations.dropAll();
  // At once, though somebody waits for it.
  EXPECT_TRUE(dropped);
  EXPECT_TRUE(failureOf(kj::mv(result), waitScope).startsWith("UNAVAILABLE: "));
  EXPECT_EQ(0u, operations.list().size());
}

TEST_F(OperationTest, FailuresNameOperationAndStageAndKeepTheirCode) {
  auto run = [&] {
    return operations.run(kj::str("make x"), [](Operation& operation) -> kj::Promise<kj::String> {
      operation.enter("tie the knot");
      snapshot::fail(snapshot::Code::NOT_FOUND, "no rope");
      co_return kj::String();
    });
  };
  EXPECT_STREQ("NOT_FOUND: make x: tie the knot: no rope", failureOf(run(), waitScope).cStr());
  EXPECT_EQ(0u, operations.list().size());
}

TEST_F(OperationTest, ADeadlineNamesTheStageThatIsLate) {
  bool dropped = false;
  auto result = operations.run(kj::str("slow"), [&](Operation& operation) {
    operation.enter("wait for ever");
    return operation.within(
        3 * kj::SECONDS,
        kj::Promise<kj::String>(kj::NEVER_DONE).attach(kj::defer([&] { dropped = true; })));
  });
  loop.run();
  advance(1 * kj::SECONDS);
  auto running = operations.list();
  ASSERT_EQ(1u, running.size());
  EXPECT_STREQ("wait for ever", running[0].stage.cStr());
  EXPECT_EQ(1 * kj::SECONDS, running[0].inStage);
  EXPECT_FALSE(dropped);
  advance(2 * kj::SECONDS);
  EXPECT_STREQ(
      "DEADLINE_EXCEEDED: slow: wait for ever: not done after 3.0 s; it has been at this step for "
      "3.0 s",
      failureOf(kj::mv(result), waitScope).cStr());
  EXPECT_TRUE(dropped);
}

TEST_F(OperationTest, DestroyingAllDropsTheWork) {
  bool dropped = false;
  auto own = kj::heap<Operations>(timer);
  auto result = own->run(kj::str("x"), [&](Operation&) {
    return kj::Promise<kj::String>(kj::NEVER_DONE).attach(kj::defer([&] { dropped = true; }));
  });
  loop.run();
  {
    auto waiting = kj::mv(result);
  }
  own = nullptr;
  EXPECT_TRUE(dropped);
}

TEST_F(OperationTest, TurnsComeInOrderAndSkipWhoGaveUp) {
  Turns turns;
  kj::Vector<int> order;
  auto first = kj::heap(turns.take().wait(waitScope));
  auto take = [&](int number) {
    return turns.take().then([&, number](Turns::Turn turn) { order.add(number); });
  };
  auto second = take(2).eagerlyEvaluate(nullptr);
  auto third = kj::heap(take(3).eagerlyEvaluate(nullptr));
  auto fourth = take(4).eagerlyEvaluate(nullptr);
  loop.run();
  EXPECT_EQ(0u, order.size());
  third = nullptr;
  first = nullptr;
  fourth.wait(waitScope);
  ASSERT_EQ(2u, order.size());
  EXPECT_EQ(2, order[0]);
  EXPECT_EQ(4, order[1]);
  turns.take().wait(waitScope);
}

}  // namespace
}  // namespace belay::supervisor
