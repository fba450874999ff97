// Slots: in line, never more than allowed, none lost to those who leave.
#include "snapshot/sys/slots.h"

#include <gtest/gtest.h>

namespace belay::snapshot {
namespace {

struct SlotsTest : public ::testing::Test {
  kj::EventLoop loop;
  kj::WaitScope waitScope{loop};

  ~SlotsTest() noexcept override {}
};

TEST_F(SlotsTest, TheNextWaitsForOneToBeDropped) {
  Slots slots(2);
  auto first = slots.take().wait(waitScope);
  auto second = slots.take().wait(waitScope);
  auto third = slots.take();
  EXPECT_FALSE(third.poll(waitScope));
  first = nullptr;
  EXPECT_TRUE(third.poll(waitScope));
  auto held = third.wait(waitScope);
  EXPECT_FALSE(slots.take().poll(waitScope));
}

TEST_F(SlotsTest, TheyAreServedInOrder) {
  Slots slots(1);
  auto held = slots.take().wait(waitScope);
  auto first = slots.take();
  auto second = slots.take();
  held = nullptr;
  EXPECT_FALSE(second.poll(waitScope));
  EXPECT_TRUE(first.poll(waitScope));
}

TEST_F(SlotsTest, WhoLeavesTheLineTakesNothingAway) {
  Slots slots(1);
  auto held = slots.take().wait(waitScope);
  {
    auto leaves = slots.take();
  }
  auto served = slots.take();
  held = nullptr;
  EXPECT_TRUE(served.poll(waitScope));
}

TEST_F(SlotsTest, WhoLeavesAfterBeingServedGivesBack) {
  Slots slots(1);
  auto held = slots.take().wait(waitScope);
  {
    auto leaves = slots.take();
    held = nullptr;
  }
  EXPECT_TRUE(slots.take().poll(waitScope));
}

}  // namespace
}  // namespace belay::snapshot
