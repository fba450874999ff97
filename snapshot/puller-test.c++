// Pulls against a belay-pull that misbehaves on demand (testing/faulty-pull.c++), with the real
// programs for hashing and unpacking.
#include "snapshot/puller.h"

#include <sys/stat.h>

#include "snapshot/testing/store-fixture.h"
#include "snapshot/testing/test-image.h"

namespace belay::snapshot {
namespace {

struct PullerTest : public StoreFixture {
  PullerTest() : StoreFixture("snapshot/testing/faulty-pull") {}

  ~PullerTest() noexcept override {}

  void SetUp() override {
    BELAY_REQUIRE_ROOT();
    fifo = kj::str(folder.path(), "/fifo");
    KJ_SYSCALL(mkfifo(fifo.cStr(), 0600));
    restart();
  }

  void TearDown() override {
    puller = nullptr;
    StoreFixture::TearDown();
  }

  // As a new belayd begins.
  void restart() {
    puller = nullptr;
    openStore();
    puller = kj::heap<Puller>(*store, helpers, PullerOptions{});
  }

  kj::Promise<kj::Own<PulledImage>> pull(kj::StringPtr scenario) {
    RegistryCredentials credentials;
    credentials.username = kj::str(fifo);
    return puller->pull(kj::str("registry.example/", scenario), kj::mv(credentials));
  }

  // Waits until a scenario is at the place where it hangs.
  void waitUntilReached() {
    kj::AutoCloseFd readEnd = openAt(AT_FDCWD, fifo, O_RDONLY | O_NONBLOCK);
    kj::UnixEventPort::FdObserver observer(io.unixEventPort, readEnd,
                                           kj::UnixEventPort::FdObserver::OBSERVE_READ);
    observer.whenBecomesReadable().wait(io.waitScope);
  }

  void expectNothingLeft() {
    EXPECT_EQ(count("staging"), 0);
    wait(store->whenTrashIsEmpty());
    EXPECT_EQ(count("trash"), 0);
    EXPECT_EQ(count("layers"), 0);
  }

  kj::Own<Puller> puller;
  kj::String fifo;
  TestImage image{kj::arr("base"_kj, "top"_kj), 100'000};
};

TEST_F(PullerTest, BringsAnImage) {
  auto pulled = wait(pull("good"));
  auto told = pulled->image();
  EXPECT_EQ(told.getId(), image.config.digest.text());
  ASSERT_EQ(told.getRepoTags().size(), 1);
  EXPECT_EQ(told.getRepoTags()[0], "registry.example/good:latest");
  ASSERT_EQ(told.getRepoDigests().size(), 1);
  EXPECT_EQ(told.getRepoDigests()[0], kj::str("registry.example/good@", image.manifest.digest));
  EXPECT_EQ(told.getConfigJson().size(), image.config.bytes.size());
  EXPECT_EQ(told.getSizeBytes(), image.config.bytes.size() + image.layers[0].bytes.size() +
                                     image.layers[1].bytes.size());
  EXPECT_EQ(told.getBlobs().size(), 4);
  auto chain = image.chainIds();
  ASSERT_EQ(told.getLayers().size(), 2);
  EXPECT_EQ(told.getLayers()[1].getChainId(), chain[1].text());
  EXPECT_EQ(told.getLayers()[1].getSizeBytes(), image.layers[1].bytes.size());

  KJ_IF_MAYBE (top, store->openLayer(chain[1])) {
    auto text = KJ_ASSERT_NONNULL(tryReadFile(*top, "folder/layer-top", 200'000));
    EXPECT_EQ(text.size(), 100'000);
    EXPECT_TRUE(tryStat(*top, "folder/layer-base") == nullptr);
  } else {
    FAIL() << "no layer";
  }
  EXPECT_TRUE(store->hasLayer(chain[0]));
  EXPECT_EQ(count("ingest") + count("staging"), 0);
  EXPECT_GT(store->usage().bytes, 400'000);
  wait(store->sync());
}

TEST_F(PullerTest, WhatIsThereIsNotBroughtAgain) {
  wait(pull("good"));
  auto again = wait(pull("must-have-all"));
  EXPECT_EQ(again->image().getRepoTags()[0], "registry.example/must-have-all:latest");
}

TEST_F(PullerTest, ContentIsSafeUntilItIsRecorded) {
  auto pulled = wait(pull("good"));
  store->collect(nullptr, nullptr);
  EXPECT_TRUE(store->hasLayer(image.chainIds()[1]));
  EXPECT_TRUE(store->hasBlob(image.config.digest));
  pulled = nullptr;
  EXPECT_EQ(store->collect(nullptr, nullptr).layers, 2);
}

TEST_F(PullerTest, TwoPullsOfOneImageShareTheWork) {
  auto first = pull("good");
  auto second = pull("good");
  auto third = pull("other-image");
  EXPECT_EQ(wait(kj::mv(first))->image().getId(), image.config.digest.text());
  EXPECT_EQ(wait(kj::mv(second))->image().getId(), image.config.digest.text());
  wait(kj::mv(third));
  EXPECT_EQ(count("layers"), 3);
  EXPECT_EQ(count("staging"), 0);
}

TEST_F(PullerTest, APlannedImageIsUnpackedAsItComes) {
  wait(pull("plans"));
  EXPECT_EQ(count("layers"), 2);
  EXPECT_EQ(count("staging"), 0);
}

TEST_F(PullerTest, APlanPromisesNothing) {
  auto pulled = wait(pull("plans-another-image"));
  EXPECT_EQ(pulled->image().getId(), image.config.digest.text());
  EXPECT_EQ(count("layers"), 2);
  // The planned layer's blob never came: nothing is left waiting for it.
  wait(pull("must-have-all"));
}

TEST_F(PullerTest, ACrashWhileUnpackingLeavesWholeLayersAlone) {
  EXPECT_EQ(codeOf(failureOf(pull("plans-and-crashes"))), Code::INTERNAL);
  children.whenDroppedAreReaped().wait(io.waitScope);
  EXPECT_EQ(count("staging"), 0);
  wait(store->whenTrashIsEmpty());
  EXPECT_EQ(count("trash"), 0);
  wait(pull("good"));
  EXPECT_EQ(count("layers"), 2);
}

TEST_F(PullerTest, ACrashIsToldAndTheNextPullResumes) {
  auto failure = failureOf(pull("crash-mid-blob"));
  EXPECT_EQ(codeOf(failure), Code::INTERNAL);
  EXPECT_TRUE(has(messageOf(failure), "signal 9")) << failure.getDescription().cStr();
  expectNothingLeft();
  EXPECT_EQ(count("ingest"), 1);
  wait(pull("must-resume"));
  EXPECT_EQ(count("ingest"), 0);
}

TEST_F(PullerTest, AnEndWithoutAResultIsToldWithItsStatus) {
  auto failure = failureOf(pull("dies-at-once"));
  EXPECT_EQ(codeOf(failure), Code::INTERNAL);
  EXPECT_TRUE(has(messageOf(failure), "exit code 3"));
}

TEST_F(PullerTest, ACrashInUnpackingIsToldAndLeavesNothingHalfMade) {
  auto failure = failureOf(pull("crash-in-unpacking"));
  EXPECT_EQ(codeOf(failure), Code::INTERNAL);
  EXPECT_TRUE(has(messageOf(failure), "decompress ended with signal 9"));
  children.whenDroppedAreReaped().wait(io.waitScope);
  EXPECT_EQ(count("staging"), 0);
  EXPECT_FALSE(store->hasLayer(image.chainIds()[1]));
}

TEST_F(PullerTest, WrongBytesAreRefusedWithBothDigests) {
  auto failure = failureOf(pull("wrong-bytes"));
  EXPECT_EQ(codeOf(failure), Code::FAILED_PRECONDITION);
  EXPECT_TRUE(has(messageOf(failure), image.layers[0].digest.text()));
  EXPECT_TRUE(has(messageOf(failure), "the digest sha256:"));
  EXPECT_EQ(count("ingest"), 0);
  expectNothingLeft();
}

TEST_F(PullerTest, AFileThatIsStillOpenIsRefused) {
  EXPECT_EQ(codeOf(failureOf(pull("holds-the-file"))), Code::INTERNAL);
  EXPECT_EQ(count("blobs/sha256"), 0);
}

TEST_F(PullerTest, AWrongDiffIdIsRefused) {
  auto failure = failureOf(pull("wrong-diff-id"));
  EXPECT_EQ(codeOf(failure), Code::FAILED_PRECONDITION);
  EXPECT_TRUE(has(messageOf(failure), Digest::of("something else"_kj.asBytes()).text()));
  expectNothingLeft();
}

TEST_F(PullerTest, WhatContradictsItselfIsRefused) {
  EXPECT_TRUE(has(messageOf(failureOf(pull("wrong-chain-id"))), "chain id"));
  EXPECT_TRUE(has(messageOf(failureOf(pull("names-other-blob"))), "not in the store"));
  EXPECT_TRUE(has(messageOf(failureOf(pull("path-as-id"))), "its id is no digest"));
  expectNothingLeft();
}

TEST_F(PullerTest, AFileIsHadByDigestAlone) {
  EXPECT_EQ(codeOf(failureOf(pull("writes-a-path"))), Code::INTERNAL);
  EXPECT_EQ(codeOf(failureOf(pull("asks-too-much"))), Code::INTERNAL);
  EXPECT_EQ(count("ingest"), 0);
}

TEST_F(PullerTest, ABlobThatIsNoLayerIsRefused) {
  auto failure = failureOf(pull("not-a-layer"));
  EXPECT_EQ(codeOf(failure), Code::FAILED_PRECONDITION) << failure.getDescription().cStr();
  EXPECT_EQ(count("staging"), 0);
}

TEST_F(PullerTest, ARefusalKeepsItsCodeAndLosesItsControls) {
  auto failure = failureOf(pull("refuses"));
  EXPECT_EQ(codeOf(failure), Code::NOT_FOUND);
  EXPECT_EQ(messageOf(failure), "registry: no such thing  [31m ");
}

TEST_F(PullerTest, ABadReferenceStartsNothing) {
  auto failure = failureOf(puller->pull(kj::str("Not A Name"), RegistryCredentials{}));
  EXPECT_EQ(codeOf(failure), Code::INVALID_ARGUMENT);
}

TEST_F(PullerTest, ADroppedPullIsKilledAndTheNextOneResumes) {
  auto hanging = pull("hang-mid-blob");
  waitUntilReached();
  EXPECT_FALSE(hanging.poll(io.waitScope));
  hanging = nullptr;
  // It waits until the killed process is gone, and then goes on where that stopped.
  wait(pull("must-resume"));
}

TEST_F(PullerTest, AWaitingPullTakesOverFromADroppedOne) {
  auto hanging = pull("hang-mid-blob");
  waitUntilReached();
  auto waiting = pull("must-resume");
  EXPECT_FALSE(waiting.poll(io.waitScope));
  hanging = nullptr;
  wait(kj::mv(waiting));
}

TEST_F(PullerTest, ANewLifeResumes) {
  {
    auto hanging = pull("hang-mid-blob");
    waitUntilReached();
  }
  children.whenDroppedAreReaped().wait(io.waitScope);
  restart();
  wait(pull("must-resume"));
}

TEST_F(PullerTest, DroppingWhileUnpackingLeavesNothing) {
  auto hanging = pull("hang-at-the-end");
  waitUntilReached();
  hanging = nullptr;
  auto pulling = pull("good");
  // Whatever it is doing at each of these turns, dropping it must leave nothing half-made.
  while (count("staging") == 0 && !pulling.poll(io.waitScope)) {
  }
  pulling = nullptr;
  children.whenDroppedAreReaped().wait(io.waitScope);
  EXPECT_EQ(count("staging"), 0);
  wait(store->whenTrashIsEmpty());
  EXPECT_EQ(count("trash"), 0);
  wait(pull("good"));
}

}  // namespace
}  // namespace belay::snapshot
