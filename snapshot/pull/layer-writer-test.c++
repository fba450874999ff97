// Tests what layers make on disk, the hostile ones above all. Needs root.
#include "snapshot/pull/layer-writer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "snapshot/pull/pull-error.h"
#include "snapshot/pull/tar-test-util.h"
#include "snapshot/pull/unpack.h"

namespace belay::snapshot {
namespace {

namespace fs = std::filesystem;

class LayerWriterTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "unpacking gives files to their owners, which needs root";
    oldMask = umask(0);
    std::string name = ::testing::TempDir() + "belay-layer-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    top = name;
    root = top / "root";
    fs::create_directory(root);
  }
  void TearDown() override {
    umask(oldMask);
    if (!top.empty()) fs::remove_all(top);
  }

  // Unpacks into the root; the failure's sentence, or "".
  std::string unpack(const std::string& archive, LayerLimits limits = {}) {
    kj::ArrayInputStream input(kj::arrayPtr(archive.data(), archive.size()).asBytes());
    int fd = open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    try {
      unpackLayer(input, kj::AutoCloseFd(fd), limits);
    } catch (const kj::Exception& e) {
      return pullErrorSentence(e).cStr();
    }
    return "";
  }

  struct stat status(const fs::path& path) {
    struct stat result{};
    EXPECT_EQ(lstat((root / path).c_str(), &result), 0) << path;
    return result;
  }
  std::string content(const fs::path& path) {
    std::ostringstream text;
    text << std::ifstream(root / path).rdbuf();
    return text.str();
  }
  std::string xattr(const fs::path& path, const char* name) {
    char value[256];
    ssize_t n = lgetxattr((root / path).c_str(), name, value, sizeof(value));
    return n < 0 ? "(none)" : std::string(value, n);
  }
  bool isWhiteout(const fs::path& path) {
    struct stat s = status(path);
    return S_ISCHR(s.st_mode) && s.st_rdev == makedev(0, 0);
  }
  bool isOpaque(const fs::path& path) { return xattr(path, "user.overlay.opaque") == "y"; }

  fs::path top;
  fs::path root;
  mode_t oldMask = 0;
};

TEST_F(LayerWriterTest, MakesEveryKindOfEntry) {
  auto archive = TestHeader('5', "./").mode(0750).owner(3, 4).seal() + tarFolder("d/", 01777) +
                 TestHeader('0', "d/f", 5).mode(04755).owner(1000, 1001).seal() + padded("hello") +
                 tarLink('2', "d/s", "/absolute/target") + tarLink('1', "h", "d/f") +
                 TestHeader('3', "null").mode(0666).device(1, 3).seal() +
                 TestHeader('4', "disk").device(8, 1).seal() + TestHeader('6', "fifo").seal() +
                 tarEnd();
  ASSERT_EQ(unpack(archive), "");
  EXPECT_EQ(status("").st_mode & 07777, 0750u);
  EXPECT_EQ(status("").st_uid, 3u);
  EXPECT_EQ(status("d").st_mode & 07777, 01777u);
  EXPECT_EQ(status("d").st_mtime, 1'700'000'000);
  EXPECT_EQ(status("d/f").st_mode & 07777, 04755u);
  EXPECT_EQ(status("d/f").st_uid, 1000u);
  EXPECT_EQ(status("d/f").st_gid, 1001u);
  EXPECT_EQ(status("d/f").st_mtime, 1'700'000'000);
  EXPECT_EQ(status("d/f").st_ino, status("h").st_ino);
  EXPECT_EQ(content("h"), "hello");
  EXPECT_EQ(fs::read_symlink(root / "d/s"), "/absolute/target");
  EXPECT_EQ(status("d/s").st_mtime, 1'700'000'000);
  EXPECT_EQ(status("null").st_rdev, makedev(1, 3));
  EXPECT_EQ(status("null").st_mode & 07777, 0666u);
  EXPECT_TRUE(S_ISBLK(status("disk").st_mode));
  EXPECT_TRUE(S_ISFIFO(status("fifo").st_mode));
}

TEST_F(LayerWriterTest, MakesMissingParents) {
  ASSERT_EQ(unpack(tarFile("a/b/c", "1") + tarFile("a/b/d", "2") + tarFile("x", "3")), "");
  EXPECT_EQ(content("a/b/d"), "2");
  EXPECT_EQ(status("a/b").st_mode & 07777, 0755u);
}

TEST_F(LayerWriterTest, KeepsCapabilitiesAndUserAttributesAlone) {
  std::string capability("\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
  auto archive = tarPax(paxRecord("SCHILY.xattr.security.capability", capability) +
                        paxRecord("SCHILY.xattr.user.kept", "yes") +
                        paxRecord("SCHILY.xattr.user.overlay.redirect", "/elsewhere") +
                        paxRecord("SCHILY.xattr.trusted.overlay.redirect", "/elsewhere") +
                        paxRecord("SCHILY.xattr.security.selinux", "label")) +
                 tarFile("f", "x", 0755);
  ASSERT_EQ(unpack(archive), "");
  EXPECT_EQ(xattr("f", "security.capability"), capability);
  EXPECT_EQ(xattr("f", "user.kept"), "yes");
  EXPECT_EQ(xattr("f", "user.overlay.redirect"), "(none)");
  EXPECT_EQ(xattr("f", "trusted.overlay.redirect"), "(none)");
  EXPECT_EQ(xattr("f", "security.selinux"), "(none)");
}

TEST_F(LayerWriterTest, TurnsWhiteoutsIntoOverlaysForm) {
  ASSERT_EQ(
      unpack(tarFile("d/.wh.gone", "") + tarFile(".wh.top", "") + tarFile("o/.wh..wh..opq", "") +
             tarFile("o/new", "1") + tarFile("o/.wh..wh.plnk", "aufs")),
      "");
  EXPECT_TRUE(isWhiteout("d/gone"));
  EXPECT_TRUE(isWhiteout("top"));
  EXPECT_TRUE(isOpaque("o"));
  EXPECT_EQ(content("o/new"), "1");
  EXPECT_FALSE(fs::exists(root / "o/.wh..wh.plnk"));
}

TEST_F(LayerWriterTest, HidesLowerLayersWhicheverComesFirst) {
  ASSERT_EQ(unpack(tarFile(".wh.a", "") + tarFolder("a/") + tarFile("a/x", "1") +  //
                   tarFolder("b/") + tarFile("b/x", "2") + tarFile(".wh.b", "") +  //
                   tarFile("f", "3") + tarFile(".wh.f", "") +                      //
                   tarFile(".wh.g", "") + tarFile("g", "4")),
            "");
  EXPECT_TRUE(isOpaque("a"));
  EXPECT_EQ(content("a/x"), "1");
  EXPECT_TRUE(isOpaque("b"));
  EXPECT_EQ(content("b/x"), "2");
  EXPECT_EQ(content("f"), "3");
  EXPECT_EQ(content("g"), "4");
}

TEST_F(LayerWriterTest, LetsLaterEntriesReplaceEarlierOnes) {
  ASSERT_EQ(unpack(tarFile("a", "old") + tarFile("a", "new") +                               //
                   tarFolder("d/") + tarFile("d/x/y/z", "1") + tarFile("d", "now a file") +  //
                   tarFile("e", "file") + tarFolder("e/") + tarFile("e/in", "2") +           //
                   tarFolder("k/", 0700) + tarFile("k/x", "3") + tarFolder("k/", 0711)),
            "");
  EXPECT_EQ(content("a"), "new");
  EXPECT_EQ(content("d"), "now a file");
  EXPECT_EQ(content("e/in"), "2");
  EXPECT_EQ(content("k/x"), "3");
  EXPECT_EQ(status("k").st_mode & 07777, 0711u);
}

TEST_F(LayerWriterTest, ReplacesAFileWithoutTouchingItsHardLinks) {
  ASSERT_EQ(unpack(tarFile("a", "first") + tarLink('1', "b", "a") + tarFile("a", "second")), "");
  EXPECT_EQ(content("b"), "first");
  EXPECT_EQ(content("a"), "second");
}

TEST_F(LayerWriterTest, ResolvesLinksWithinTheRoot) {
  fs::create_directory(top / "outside");
  auto up = tarLink('2', "up", "../../../../outside");
  auto absolute = tarLink('2', "absolute", (top / "outside").string());
  EXPECT_NE(unpack(up + tarFile("up/escaped", "x")), "");
  EXPECT_NE(unpack(absolute + tarFile("absolute/escaped", "x")), "");
  EXPECT_TRUE(fs::is_empty(top / "outside"));
  // A link that leads somewhere inside is followed there.
  ASSERT_EQ(
      unpack(tarFolder("usr/lib/") + tarLink('2', "lib", "/usr/lib") + tarFile("lib/inside", "1") +
             tarLink('2', "rel", "../../usr/lib") + tarFile("rel/also", "2")),
      "");
  EXPECT_EQ(content("usr/lib/inside"), "1");
  EXPECT_EQ(content("usr/lib/also"), "2");
}

TEST_F(LayerWriterTest, WritesThroughNoLinkInTheLastPlace) {
  std::ofstream(top / "victim") << "untouched";
  ASSERT_EQ(unpack(tarLink('2', "f", (top / "victim").string()) + tarFile("f", "evil", 04777) +
                   tarLink('2', "g", "../victim") + tarFolder("g/", 0777) +
                   tarLink('2', "h", "../victim") + tarFile(".wh.h", "")),
            "");
  std::ifstream victim(top / "victim");
  std::string text;
  std::getline(victim, text);
  EXPECT_EQ(text, "untouched");
  struct stat s;
  ASSERT_EQ(stat((top / "victim").c_str(), &s), 0);
  EXPECT_EQ(s.st_mode & 07000, 0u);
  EXPECT_EQ(content("f"), "evil");
}

TEST_F(LayerWriterTest, RefusesWhatNoLayerMayHave) {
  struct Case {
    std::string archive;
    const char* sentence;
  };
  for (const auto& bad : {
           Case{tarFile("../evil", "x"), ".."},
           Case{tarFile("a/../../evil", "x"), ".."},
           Case{tarLink('1', "passwd", "../../etc/passwd"), ".."},
           Case{tarLink('1', "passwd", "/etc/passwd"), "which it does not have"},
           Case{tarLink('2', "etc", "/") + tarLink('1', "p", "etc/passwd"),
                "which it does not have"},
           Case{TestHeader('3', "zero").device(0, 0).seal(), "device 0:0"},
           Case{TestHeader('4', "zero").device(0, 0).seal(), "device 0:0"},
           Case{tarLink('2', ".", "/etc"), "root is no folder"},
           Case{tarFile("/", "x"), "root is no folder"},
           Case{tarFile(".wh...", ""), "whiteout of"},
           Case{tarFile("f", "x") + tarFile("f/below", "y"), "cannot be entered"},
           Case{tarLink('2', "l", "l") + tarFile("l/x", "y"), "cannot be entered"},
           Case{tarLink('2', "l", "nowhere") + tarFile("l/x", "y"), "leads nowhere"},
       }) {
    std::string failure = unpack(bad.archive + tarEnd());
    EXPECT_NE(failure.find(bad.sentence), std::string::npos) << failure;
    fs::remove_all(root);
    fs::create_directory(root);
  }
  EXPECT_FALSE(fs::exists(top / "evil"));
}

TEST_F(LayerWriterTest, HasLimits) {
  auto archive = tarFile("a", "12345") + tarFile("b", "12345") + tarFile("c", "12345");
  EXPECT_NE(unpack(archive, {.entries = 2}), "");
  EXPECT_NE(unpack(archive, {.contentBytes = 14}), "");
  EXPECT_NE(unpack(tarFolder("abc") + tarFolder("def"), {.folderNameBytes = 5}), "");
  EXPECT_EQ(unpack(archive, {.entries = 3, .contentBytes = 15}), "");
}

TEST_F(LayerWriterTest, RemovesDeepAndWideTreesThatAreReplaced) {
  // Deeper than any path may be long, by way of a link to the deepest folder so far.
  std::string deep = "d";
  for (int i = 0; i < 15; ++i)
    deep += "/" + std::string(250, 'd');
  std::string below = "short" + deep.substr(1);
  std::string archive = tarPax(paxRecord("path", deep)) + tarFolder("d") +
                        tarPax(paxRecord("linkpath", "/" + deep)) + tarLink('2', "short", "x") +
                        tarPax(paxRecord("path", below)) + tarFolder("x");
  for (int i = 0; i < 300; ++i) {
    archive += tarFolder("d/wide" + std::to_string(i)) + tarFile("d/file" + std::to_string(i), "");
  }
  archive += tarFile("d", "replaced");
  ASSERT_EQ(unpack(archive), "");
  EXPECT_EQ(content("d"), "replaced");
}

}  // namespace
}  // namespace belay::snapshot
