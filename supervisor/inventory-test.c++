// Tests of inventory.h: look-ups, the order of a container's life, and what is written down.
#include "supervisor/inventory.h"

#include <gtest/gtest.h>
#include <kj/debug.h>
#include <signal.h>
#include <stdlib.h>

#include "snapshot/failure.h"
#include "supervisor/fake-shim.h"

namespace belay::supervisor {
namespace {

class InventoryTest : public testing::Test {
 public:
  InventoryTest() : folder(makeFolder()), database(folder), inventory(database, held) {}
  ~InventoryTest() noexcept override = default;

 protected:
  static kj::String makeFolder() {
    auto pattern = kj::str(testing::TempDir().c_str(), "/inventory-XXXXXX");
    KJ_ASSERT(mkdtemp(pattern.begin()) != nullptr);
    return pattern;
  }

  kj::Own<Pod> addPod(kj::StringPtr id, PodStage stage = PodStage::READY) {
    return inventory.add(Owned<PodRecord>::make([&](PodRecord::Builder record) {
      record.setId(id);
      record.setStage(stage);
      record.initConfig().setName(kj::str("name-", id));
    }));
  }
  kj::Own<Container> addContainer(Pod& pod, kj::StringPtr id) {
    return inventory.add(pod, Owned<ContainerRecord>::make([&](ContainerRecord::Builder record) {
                           record.setId(id);
                           record.setPodId(pod.id());
                           record.initConfig().setName("main");
                           record.initLast().setPid(4711);
                         }));
  }
  snapshot::Code codeOf(kj::Function<void()> action) {
    return snapshot::codeOf(KJ_ASSERT_NONNULL(kj::runCatchingExceptions([&] { action(); })));
  }

  kj::EventLoop loop;
  kj::WaitScope waitScope{loop};
  kj::String folder;
  Database database;
  HeldDescriptors held;
  Inventory inventory;
};

TEST_F(InventoryTest, FindsByUnambiguousPrefix) {
  addPod("abc1");
  addPod("abd2");
  EXPECT_STREQ("abc1", inventory.getPod("abc")->id().cStr());
  EXPECT_STREQ("abd2", inventory.getPod("abd2")->id().cStr());
  EXPECT_EQ(snapshot::Code::INVALID_ARGUMENT, codeOf([&] { inventory.getPod("ab"); }));
  EXPECT_EQ(snapshot::Code::NOT_FOUND, codeOf([&] { inventory.getPod("x"); }));
  EXPECT_EQ(snapshot::Code::NOT_FOUND, codeOf([&] { inventory.getPod(""); }));
}

TEST_F(InventoryTest, HidesPodsInTheMaking) {
  auto pod = addPod("abc1", PodStage::CREATING);
  EXPECT_TRUE(inventory.findPod("abc1") == nullptr);
  EXPECT_TRUE(inventory.findPod("abc") == nullptr);
  EXPECT_EQ(1, inventory.podsNamed(pod->get().getConfig()).size());
  inventory.update(*pod, [](PodRecord::Builder record) { record.setStage(PodStage::REMOVING); });
  EXPECT_TRUE(inventory.findPod("abc1") != nullptr);
  EXPECT_EQ(1, inventory.podsNamed(pod->get().getConfig()).size());
}

TEST_F(InventoryTest, RemovedIsGoneButForWhoHoldsIt) {
  auto pod = addPod("abc1");
  EXPECT_FALSE(inventory.isGone(*pod));
  inventory.remove(*pod);
  EXPECT_TRUE(inventory.isGone(*pod));
  EXPECT_STREQ("abc1", pod->id().cStr());
  EXPECT_EQ(0u, database.pods().size());
}

TEST_F(InventoryTest, AContainerNeverGoesBack) {
  auto pod = addPod("p");
  auto container = addContainer(*pod, "c");
  inventory.apply(*pod, stateOf("c", shim::Stage::RUNNING).get());
  inventory.apply(*pod, stateOf("c", shim::Stage::CREATED).get());
  EXPECT_EQ(shim::Stage::RUNNING, container->get().getLast().getStage());
  inventory.apply(*pod, stateOf("c", shim::Stage::EXITED, 7).get());
  inventory.apply(*pod, stateOf("c", shim::Stage::EXITED, 8).get());
  inventory.markLost(*container, "x");
  EXPECT_EQ(7, container->get().getLast().getExit().getCode());
  // As it is in the database.
  EXPECT_EQ(7, database.containers()[0].get().getLast().getExit().getCode());
  inventory.apply(*pod, stateOf("stranger", shim::Stage::RUNNING).get());
}

TEST_F(InventoryTest, AShimIsNotBelievedAboutAnotherPod) {
  auto pod = addPod("p");
  auto other = addPod("q");
  auto container = addContainer(*pod, "c");
  inventory.apply(*other, stateOf("c", shim::Stage::EXITED, 7).get());
  EXPECT_FALSE(container->hasExited());
}

TEST_F(InventoryTest, WhatNobodyTellsIsUnknown) {
  auto pod = addPod("p");
  auto container = addContainer(*pod, "c");
  EXPECT_EQ(ContainerView::State::UNKNOWN, container->state());
  inventory.markLost(*container, "its shim died");
  EXPECT_EQ(ContainerView::State::EXITED, container->state());
  auto exit = container->get().getLast().getExit();
  EXPECT_EQ(255, exit.getCode());
  EXPECT_FALSE(exit.getKnown());
  EXPECT_GT(exit.getFinishedAtNs(), 0);
}

TEST_F(InventoryTest, AnOrphansEndIsForThePodsNextShim) {
  auto pod = addPod("p");
  auto container = addContainer(*pod, "c");
  inventory.orphanExited(1, {.exitCode = 1});
  EXPECT_EQ(0u, pod->orphanExits().size());
  inventory.orphanExited(4711, {.exitCode = 3});
  EXPECT_FALSE(container->hasExited());
  auto exits = pod->orphanExits();
  ASSERT_EQ(1u, exits.size());
  EXPECT_EQ(4711, exits[0].get().getPid());
  EXPECT_EQ(3, exits[0].get().getCode());
  // There will be none.
  inventory.settleOrphans(*pod);
  EXPECT_EQ(3, container->get().getLast().getExit().getCode());
  EXPECT_EQ(0u, pod->orphanExits().size());
}

TEST_F(InventoryTest, AnOrphanOfALostPodThatEndsIsItsContainer) {
  auto pod = addPod("p");
  pod->setShimDead();
  auto container = addContainer(*pod, "c");
  inventory.orphanExited(4711, {.signal = SIGKILL});
  EXPECT_EQ(137, container->get().getLast().getExit().getCode());
  EXPECT_EQ(SIGKILL, container->get().getLast().getExit().getSignal());
}

TEST_F(InventoryTest, LoadsWhatAnotherOneWrote) {
  auto pod = addPod("p");
  addContainer(*pod, "c");
  database.put(Owned<ContainerRecord>::make([](ContainerRecord::Builder record) {
    record.setId("homeless");
    record.setPodId("gone");
  }));
  Inventory successor(database, held);
  auto homeless = successor.load();
  ASSERT_EQ(1u, homeless.size());
  EXPECT_STREQ("homeless", homeless[0].get().getId().cStr());
  auto container = successor.getContainer("c");
  EXPECT_STREQ("p", container->pod().id().cStr());
  EXPECT_EQ(1, successor.containersNamed(container->pod(), "main", 0).size());
  EXPECT_EQ(0, successor.containersNamed(container->pod(), "main", 1).size());
}

}  // namespace
}  // namespace belay::supervisor
