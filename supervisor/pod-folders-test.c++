// Tests of pod-folders.h. Pins need root.
#include "supervisor/pod-folders.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <kj/debug.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "snapshot/failure.h"
#include "supervisor/text-file.h"

namespace belay::supervisor {
namespace {

class PodFoldersTest : public testing::Test {
 protected:
  PodFoldersTest() {
    auto pattern = kj::str(testing::TempDir().c_str(), "/folders-XXXXXX");
    KJ_ASSERT(mkdtemp(pattern.begin()) != nullptr);
    state = kj::str(pattern, "/state");
  }

  kj::String state;
};

TEST_F(PodFoldersTest, MakesListsAndRemoves) {
  PodFolders folders(state);
  folders.make("p1");
  folders.make("p2");
  auto again = KJ_ASSERT_NONNULL(kj::runCatchingExceptions([&] { folders.make("p1"); }));
  EXPECT_EQ(snapshot::Code::ALREADY_EXISTS, snapshot::codeOf(again));
  EXPECT_EQ(2u, folders.list().size());
  struct stat stats;
  ASSERT_EQ(0, stat(folders.pathOf("p1").cStr(), &stats));
  EXPECT_EQ(0700u, stats.st_mode & 0777);
  folders.remove("p1");
  folders.remove("p1");
  EXPECT_TRUE(folders.open("p1") == nullptr);
  EXPECT_EQ(1u, PodFolders(state).list().size());
}

TEST_F(PodFoldersTest, RefusesNamesThatLeadElsewhere) {
  PodFolders folders(state);
  for (auto name : {"", "..", ".", "a/b", "../x"}) {
    EXPECT_TRUE(kj::runCatchingExceptions([&] { folders.remove(name); }) != nullptr) << name;
    EXPECT_TRUE(kj::runCatchingExceptions([&] { folders.make(name); }) != nullptr) << name;
  }
}

TEST_F(PodFoldersTest, RemovingFollowsNoLink) {
  PodFolders folders(state);
  folders.make("p");
  auto outside = kj::str(state, "-outside");
  mkdir(outside.cStr(), 0700);
  std::ofstream(kj::str(outside, "/file").cStr()) << "x";
  ASSERT_EQ(0, symlink(outside.cStr(), kj::str(folders.pathOf("p"), "/link").cStr()));
  mkdir(kj::str(folders.pathOf("p"), "/c").cStr(), 0700);
  mkfifo(kj::str(folders.pathOf("p"), "/c/stdout").cStr(), 0600);
  folders.remove("p");
  EXPECT_EQ(0, access(kj::str(outside, "/file").cStr(), F_OK));
  EXPECT_EQ(0u, folders.list().size());
}

TEST_F(PodFoldersTest, RemovingUnmountsPins) {
  // By another name than the kernel's.
  {
    PodFolders real(kj::str(state, "-real"));
  }
  ASSERT_EQ(0, symlink(kj::str(state, "-real").cStr(), state.cStr()));
  PodFolders folders(state);
  folders.make("p");
  auto pin = kj::str(folders.pathOf("p"), "/pin with a blank");
  std::ofstream(pin.cStr()) << "";
  if (mount("/proc/self/ns/uts", pin.cStr(), nullptr, MS_BIND, nullptr) != 0) {
    GTEST_SKIP() << "needs root: a namespace cannot be pinned: " << strerror(errno);
  }
  folders.remove("p");
  auto mounts = readTextFile("/proc/self/mountinfo", 64 << 20);
  EXPECT_EQ(nullptr, strstr(mounts.cStr(), state.cStr()));
}

TEST_F(PodFoldersTest, ReadsARecordOrNone) {
  PodFolders folders(state);
  folders.make("p");
  EXPECT_TRUE(folders.record("absent") == nullptr);
  EXPECT_TRUE(folders.record("p") == nullptr);
  std::ofstream file(kj::str(folders.pathOf("p"), "/state").cStr(), std::ios::binary);
  auto record =
      Owned<shim::ShimRecord>::make([](shim::ShimRecord::Builder record) { record.setShimPid(7); });
  auto bytes = record.bytes();
  file.write(reinterpret_cast<const char*>(bytes.begin()), bytes.size());
  file.flush();
  EXPECT_EQ(7, KJ_ASSERT_NONNULL(folders.record("p")).get().getShimPid());
  file << "damage";
  file.flush();
  EXPECT_TRUE(folders.record("p") == nullptr);
}

}  // namespace
}  // namespace belay::supervisor
