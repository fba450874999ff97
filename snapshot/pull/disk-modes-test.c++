// Deleting and measuring trees of hostile making.
#include "snapshot/pull/disk-modes.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <kj/debug.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "snapshot/sys/file.h"
#include "snapshot/testing/temporary-folder.h"

namespace belay::snapshot {
namespace {

struct DiskModesTest : public ::testing::Test {
  TemporaryFolder folder;
  kj::AutoCloseFd outside = makeFolders(kj::str(folder.path(), "/outside"), 0755);
  kj::AutoCloseFd tree = makeFolders(kj::str(folder.path(), "/tree"), 0755);

  DiskModesTest() { writeNewFile(outside, "precious", "x", 0644); }
  ~DiskModesTest() noexcept override {}
};

TEST_F(DiskModesTest, RemovesEveryKindAndFollowsNoLink) {
  writeNewFile(tree, "file", "x", 0000);
  KJ_SYSCALL(symlinkat("../outside", tree, "link"));
  KJ_SYSCALL(linkat(outside, "precious", tree, "hard-link", 0));
  KJ_SYSCALL(mkfifoat(tree, "fifo", 0600));
  auto inner = makeFolder(tree, "inner", 0700);
  KJ_SYSCALL(symlinkat("..", inner, "loop"));
  KJ_SYSCALL(symlinkat("../../outside", inner, "link"));
  removeContents(tree);
  EXPECT_EQ(namesIn(tree).size(), 0);
  EXPECT_TRUE(tryStat(outside, "precious") != nullptr);
}

TEST_F(DiskModesTest, RemovesDeepAndWideTrees) {
  for (int i = 0; i < 3000; ++i)
    writeNewFile(tree, kj::str("file-", i), "", 0600);
  auto here = makeFolder(tree, "deep", 0700);
  for (int depth = 0; depth < 5000; ++depth) {
    here = makeFolder(here, "with-a-name-that-makes-the-path-longer-than-PATH_MAX", 0700);
  }
  removeContents(tree);
  EXPECT_EQ(namesIn(tree).size(), 0);
}

TEST_F(DiskModesTest, StaysOnItsFileSystem) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root: it mounts";
  pid_t pid = fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    // In a mount namespace of its own, which ends with the process.
    KJ_SYSCALL(unshare(CLONE_NEWNS));
    KJ_SYSCALL(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr));
    auto path = kj::str(folder.path(), "/tree/a/mounted");
    makeFolders(path, 0755);
    writeNewFile(tree, "file", "x", 0600);
    KJ_SYSCALL(mount("tmpfs", path.cStr(), "tmpfs", 0, nullptr));
    auto mounted = openAt(AT_FDCWD, path, O_RDONLY | O_DIRECTORY);
    // Opened again: the old descriptor sees the old namespace's mounts.
    tree = openAt(AT_FDCWD, kj::str(folder.path(), "/tree"), O_RDONLY | O_DIRECTORY);
    writeNewFile(mounted, "precious", "x", 0600);
    EXPECT_ANY_THROW(removeContents(tree));
    EXPECT_TRUE(tryStat(mounted, "precious") != nullptr);
    EXPECT_TRUE(tryStat(tree, "file") == nullptr);
    EXPECT_EQ(measureTree(tree).inodes, 3);  // tree, a, the mount point
    _exit(HasFailure() ? 1 : 0);
  }
  int status;
  KJ_SYSCALL(waitpid(pid, &status, 0));
  EXPECT_EQ(status, 0);
}

TEST_F(DiskModesTest, MeasuresLinkedFilesOnce) {
  writeNewFile(tree, "file", kj::str(kj::repeat('x', 100'000)), 0600);
  auto before = measureTree(tree);
  EXPECT_EQ(before.inodes, 2);
  EXPECT_GE(before.bytes, 100'000);
  KJ_SYSCALL(linkat(tree, "file", tree, "again", 0));
  KJ_SYSCALL(symlinkat("/", tree, "root"));
  auto after = measureTree(tree);
  EXPECT_EQ(after.inodes, 3);
  EXPECT_LE(after.bytes, before.bytes + 4096);
}

TEST_F(DiskModesTest, MeasuresDeepTreesToItsLimit) {
  auto here = makeFolder(tree, "deep", 0700);
  for (unsigned depth = 1; depth < 20; ++depth)
    here = makeFolder(here, "d", 0700);
  EXPECT_EQ(measureTree(tree).inodes, 21);
  EXPECT_EQ(measureTree(tree, 5).inodes, 6);
}

}  // namespace
}  // namespace belay::snapshot
