// The overlay snapshotter passes the suite, with and without the volatile option.
#include "snapshot/overlay-snapshotter.h"

#include "snapshot/snapshotter-suite.h"

namespace belay::snapshot {
namespace {

SnapshotterParam overlay(const char* name, Durability durability) {
  return {name, [durability](kj::StringPtr path, Store& store, Helpers& helpers) {
            return newOverlaySnapshotter(path, store, helpers, durability);
          }};
}

INSTANTIATE_TEST_SUITE_P(Overlay, SnapshotterSuite,
                         ::testing::Values(overlay("Volatile", Durability::VOLATILE),
                                           overlay("Synced", Durability::SYNCED)),
                         snapshotterName);

struct OverlaySnapshotterTest : public StoreFixture {};

TEST_F(OverlaySnapshotterTest, SweepsHalfMadeSnapshots) {
  openStore();
  auto path = kj::str(folder.path(), "/snapshotter");
  auto snapshots = makeFolders(kj::str(path, "/snapshots"), 0711);
  makeFolder(makeFolder(snapshots, ".half", 0711), "fs", 0755);
  auto snapshotter = newOverlaySnapshotter(path, *store, helpers);
  EXPECT_EQ(namesIn(snapshots).size(), 0);
  wait(snapshotter->whenTrashIsEmpty());
  EXPECT_EQ(snapshotter->name(), "overlay");
}

// A power cut may take the contents of the file "layers", or leave a part of them, and all must be
// found that nobody uses any more.
TEST_F(OverlaySnapshotterTest, ListsSnapshotsWhateverTheyStandOn) {
  openStore();
  auto path = kj::str(folder.path(), "/snapshotter");
  auto snapshots = makeFolders(kj::str(path, "/snapshots"), 0711);
  writeNewFile(makeFolder(snapshots, "empty", 0711), "layers", "", 0600);
  writeNewFile(makeFolder(snapshots, "cut", 0711), "layers", "sha256:00", 0600);
  makeFolder(snapshots, "none", 0711);
  auto snapshotter = newOverlaySnapshotter(path, *store, helpers);
  auto list = snapshotter->list();
  EXPECT_EQ(list.size(), 3);
  for (auto& snapshot : list) {
    EXPECT_EQ(snapshot.chainIds.size(), 0);
    snapshotter->remove(snapshot.key);
  }
  EXPECT_EQ(namesIn(snapshots).size(), 0);
  wait(snapshotter->whenTrashIsEmpty());
}

}  // namespace
}  // namespace belay::snapshot
