// The store: only whole and verified content is ever in place, and nothing else stays.
#include "snapshot/store.h"

#include <sys/stat.h>

#include "snapshot/testing/store-fixture.h"

namespace belay::snapshot {
namespace {

struct StoreTest : public StoreFixture {
  // A download of `bytes` under the name of `digest`, not committed.
  void download(const Digest& digest, kj::StringPtr bytes) {
    auto ingest = wait(store->openIngest(digest));
    kj::FdOutputStream(ingest.file.get()).write(bytes.begin(), bytes.size());
  }

  kj::String contents(const Digest& digest) {
    return kj::str(store->readBlob(digest, 1000).asChars());
  }
};

const Digest HELLO = Digest::of("hello, store"_kj.asBytes());

TEST_F(StoreTest, ABlobIsThereOnceItsDigestIsVerified) {
  openStore();
  EXPECT_FALSE(store->hasBlob(HELLO));
  download(HELLO, "hello, store");
  EXPECT_FALSE(store->hasBlob(HELLO));
  EXPECT_TRUE(store->openBlob(HELLO) == nullptr);
  wait(store->commitBlob(HELLO, 12));
  EXPECT_TRUE(store->hasBlob(HELLO));
  EXPECT_EQ(contents(HELLO), "hello, store");
  EXPECT_EQ(count("ingest"), 0);
  EXPECT_EQ(store->usage().bytes, 12);
  EXPECT_EQ(store->usage().inodes, 1);
  EXPECT_EQ(openStore().usage().bytes, 12);
}

TEST_F(StoreTest, AWrongDigestIsRefusedAndTheDownloadRemoved) {
  openStore();
  download(HELLO, "hello, thief");
  auto failure = failureOf(store->commitBlob(HELLO, 12));
  EXPECT_EQ(codeOf(failure), Code::FAILED_PRECONDITION);
  EXPECT_TRUE(has(messageOf(failure), HELLO.text()));
  EXPECT_TRUE(has(messageOf(failure), Digest::of("hello, thief"_kj.asBytes()).text()));
  EXPECT_FALSE(store->hasBlob(HELLO));
  EXPECT_EQ(count("ingest"), 0);
}

TEST_F(StoreTest, AWrongSizeIsRefused) {
  openStore();
  download(HELLO, "hello, store");
  EXPECT_EQ(codeOf(failureOf(store->commitBlob(HELLO, 11))), Code::FAILED_PRECONDITION);
  EXPECT_FALSE(store->hasBlob(HELLO));
}

TEST_F(StoreTest, ADownloadGoesOnWhereItStopped) {
  openStore();
  download(HELLO, "hello, ");
  openStore();
  auto ingest = wait(store->openIngest(HELLO));
  EXPECT_EQ(ingest.offsetBytes, 7);
  kj::FdOutputStream(ingest.file.get()).write("store", 5);
  ingest.file = nullptr;
  wait(store->commitBlob(HELLO, 12));
  EXPECT_EQ(contents(HELLO), "hello, store");
}

TEST_F(StoreTest, BytesThatCouldStillChangeAreNotHashed) {
  openStore();
  auto ingest = wait(store->openIngest(HELLO));
  kj::FdOutputStream(ingest.file.get()).write("hello, store", 12);
  auto failure = failureOf(store->commitBlob(HELLO, 12));
  EXPECT_EQ(codeOf(failure), Code::INTERNAL);
  EXPECT_TRUE(has(messageOf(failure), "still writes"));
  EXPECT_FALSE(store->hasBlob(HELLO));
  ingest.file = nullptr;
  wait(store->commitBlob(HELLO, 12));
}

TEST_F(StoreTest, AFileThatAFormerLifeStillWritesIsPutAside) {
  openStore();
  auto old = wait(store->openIngest(HELLO));
  kj::FdOutputStream(old.file.get()).write("garbage", 7);
  openStore();
  auto fresh = wait(store->openIngest(HELLO));
  EXPECT_EQ(fresh.offsetBytes, 0);
  kj::FdOutputStream(old.file.get()).write("more garbage", 12);
  kj::FdOutputStream(fresh.file.get()).write("hello, store", 12);
  fresh.file = nullptr;
  wait(store->commitBlob(HELLO, 12));
  EXPECT_EQ(contents(HELLO), "hello, store");
}

TEST_F(StoreTest, ALayerAppearsByCommitAlone) {
  openStore();
  auto staging = store->newStaging();
  writeNewFile(staging->folder(), "file", "x", 0644);
  EXPECT_FALSE(store->hasLayer(HELLO));
  store->commitLayer(*staging, HELLO, Usage{.bytes = 100, .inodes = 2});
  staging = nullptr;
  EXPECT_TRUE(store->hasLayer(HELLO));
  EXPECT_EQ(count("staging"), 0);
  KJ_IF_MAYBE (layer, store->openLayer(HELLO)) {
    EXPECT_TRUE(tryStat(*layer, "file") != nullptr);
  } else {
    FAIL() << "no layer";
  }
  EXPECT_EQ(access(store->layerPath(HELLO).cStr(), F_OK), 0);
  // A second one of the same chain id changes nothing, and a new life counts the same.
  auto again = store->newStaging();
  store->commitLayer(*again, HELLO, Usage{.bytes = 7, .inodes = 7});
  again = nullptr;
  EXPECT_EQ(store->usage().bytes, 100);
  EXPECT_EQ(openStore().usage().bytes, 100);
  EXPECT_EQ(store->usage().inodes, 2);
}

TEST_F(StoreTest, AHalfMadeLayerVanishes) {
  openStore();
  {
    auto staging = store->newStaging();
    writeNewFile(staging->folder(), "file", "x", 0644);
    EXPECT_EQ(count("staging"), 1);
  }
  EXPECT_EQ(count("staging"), 0);
  wait(store->whenTrashIsEmpty());
  EXPECT_EQ(count("trash"), 0);
}

TEST_F(StoreTest, ANewLifeSweepsWhatTheOldOneLeft) {
  openStore();
  auto root = openAt(AT_FDCWD, storePath(), O_RDONLY | O_DIRECTORY);
  auto stale = makeFolder(makeFolder(root, "staging", 0700), "17", 0700);
  writeNewFile(stale, "file", "x", 0644);
  writeNewFile(makeFolder(root, "trash", 0700), "5", "x", 0644);
  openStore();
  EXPECT_EQ(count("staging"), 0);
  wait(store->whenTrashIsEmpty());
  EXPECT_EQ(count("trash"), 0);
}

TEST_F(StoreTest, CollectKeepsWhatIsNamedOrLeased) {
  openStore();
  auto named = putBlob("named"_kj.asBytes());
  auto leased = putBlob("leased"_kj.asBytes());
  auto refuse = putBlob("refuse"_kj.asBytes());
  auto lease = store->newLease();
  lease->addBlob(leased);
  for (const Digest& chainId : {named, leased, refuse}) {
    auto staging = store->newStaging();
    writeNewFile(staging->folder(), "file", "x", 0644);
    store->commitLayer(*staging, chainId, Usage{.bytes = 10, .inodes = 1});
  }
  lease->addLayer(leased);

  auto collected = store->collect(kj::arr(named), kj::arr(named));
  EXPECT_EQ(collected.blobs, 1);
  EXPECT_EQ(collected.layers, 1);
  EXPECT_EQ(collected.bytes, 16);
  EXPECT_TRUE(store->hasBlob(named) && store->hasBlob(leased) && !store->hasBlob(refuse));
  EXPECT_TRUE(store->hasLayer(named) && store->hasLayer(leased) && !store->hasLayer(refuse));
  EXPECT_EQ(store->usage().bytes, 31);

  lease = nullptr;
  EXPECT_EQ(store->collect(nullptr, nullptr).blobs, 2);
  EXPECT_EQ(store->usage().bytes, 0);
  EXPECT_EQ(store->usage().inodes, 0);
  wait(store->whenTrashIsEmpty());
  EXPECT_EQ(count("trash") + count("layers") + count("blobs/sha256"), 0);
}

TEST_F(StoreTest, CollectCanKeepWhatAnUnfinishedPullLeft) {
  openStore().collect(nullptr, nullptr);
  auto fresh = putBlob("fresh"_kj.asBytes());
  auto old = putBlob("old"_kj.asBytes());
  struct timespec yesterday[2];
  clock_gettime(CLOCK_REALTIME, &yesterday[0]);
  yesterday[0].tv_sec -= 25 * 3600;
  yesterday[1] = yesterday[0];
  ASSERT_EQ(
      utimensat(AT_FDCWD, kj::str(storePath(), "/blobs/sha256/", old.hex()).cStr(), yesterday, 0),
      0);
  EXPECT_EQ(store->collect(nullptr, nullptr, Store::Recent::KEEP).blobs, 1);
  EXPECT_TRUE(store->hasBlob(fresh) && !store->hasBlob(old));
  EXPECT_EQ(store->collect(nullptr, nullptr).blobs, 1);
}

// A power cut may have left names without contents.
TEST_F(StoreTest, AfterARebootNothingIsBelievedThatNoRecordNames) {
  openStore().collect(nullptr, nullptr);
  auto named = putBlob("named"_kj.asBytes());
  auto unnamed = putBlob("unnamed"_kj.asBytes());
  download(HELLO, "hello, ");
  for (const Digest& chainId : {named, unnamed}) {
    auto staging = store->newStaging();
    store->commitLayer(*staging, chainId, Usage{.bytes = 10, .inodes = 1});
  }
  auto live = kj::arr(named);
  EXPECT_FALSE(openStore().isOfAnotherBoot());
  EXPECT_EQ(store->collect(live, live, Store::Recent::KEEP).blobs, 0);

  auto root = openAt(AT_FDCWD, storePath(), O_RDONLY | O_DIRECTORY);
  ASSERT_EQ(unlinkat(root, "boot", 0), 0);
  writeNewFile(root, "boot", "00000000-1111-2222-3333-444444444444", 0600);
  EXPECT_TRUE(openStore().isOfAnotherBoot());
  auto collected = store->collect(live, live, Store::Recent::KEEP);
  EXPECT_EQ(collected.blobs, 1);
  EXPECT_EQ(collected.layers, 1);
  EXPECT_EQ(collected.downloads, 1);
  EXPECT_TRUE(store->hasBlob(named) && store->hasLayer(named));
  EXPECT_FALSE(store->isOfAnotherBoot());
  EXPECT_FALSE(openStore().isOfAnotherBoot());
}

TEST_F(StoreTest, CollectDropsDownloadsOfYesterdayAlone) {
  openStore().collect(nullptr, nullptr);
  auto old = Digest::of("old"_kj.asBytes());
  auto wanted = Digest::of("wanted"_kj.asBytes());
  for (const Digest& digest : {old, wanted, HELLO})
    download(digest, "part");
  auto ingest = openAt(AT_FDCWD, kj::str(storePath(), "/ingest"), O_RDONLY | O_DIRECTORY);
  struct timespec yesterday[2];
  clock_gettime(CLOCK_REALTIME, &yesterday[0]);
  yesterday[0].tv_sec -= 25 * 3600;
  yesterday[1] = yesterday[0];
  ASSERT_EQ(utimensat(ingest, old.hex().cStr(), yesterday, 0), 0);
  ASSERT_EQ(utimensat(ingest, wanted.hex().cStr(), yesterday, 0), 0);
  auto lease = store->newLease();
  lease->addBlob(wanted);
  EXPECT_EQ(store->collect(nullptr, nullptr).downloads, 1);
  EXPECT_TRUE(tryStat(ingest, old.hex()) == nullptr);
  EXPECT_TRUE(tryStat(ingest, wanted.hex()) != nullptr);
  EXPECT_TRUE(tryStat(ingest, HELLO.hex()) != nullptr);
}

TEST_F(StoreTest, ReadsSmallBlobsAlone) {
  openStore();
  auto digest = putBlob("0123456789"_kj.asBytes());
  EXPECT_EQ(store->readBlob(digest, 10).size(), 10);
  EXPECT_ANY_THROW(store->readBlob(digest, 9));
  EXPECT_ANY_THROW(store->readBlob(HELLO, 9));
}

TEST_F(StoreTest, Syncs) {
  openStore();
  wait(store->sync());
}

TEST_F(StoreTest, AMissingHelperIsToldByItsPath) {
  openStore();
  Helpers broken(children, *io.lowLevelProvider, "/nonexistent/belay-pull");
  auto failure = failureOf(broken.sync(openAt(AT_FDCWD, "/tmp", O_RDONLY | O_DIRECTORY)));
  EXPECT_EQ(codeOf(failure), Code::INTERNAL);
  EXPECT_TRUE(has(messageOf(failure), "/nonexistent/belay-pull"));
}

}  // namespace
}  // namespace belay::snapshot
