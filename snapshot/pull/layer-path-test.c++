// Tests how names in a layer are spelt, refused and told to be whiteouts.
#include "snapshot/pull/layer-path.h"

#include <gtest/gtest.h>

#include <string>

namespace belay::snapshot {
namespace {

std::string normal(const std::string& path) {
  return normalLayerPath(path.c_str()).cStr();
}

TEST(LayerPath, HasOneSpellingForEachPath) {
  EXPECT_EQ(normal("./a//b/./c/"), "a/b/c");
  EXPECT_EQ(normal("/etc/passwd"), "etc/passwd");
  EXPECT_EQ(normal("./"), "");
  EXPECT_EQ(normal("/"), "");
  EXPECT_EQ(normal("..a/b..c/..."), "..a/b..c/...");
}

TEST(LayerPath, RefusesToGoUp) {
  for (const char* path : {"..", "../x", "a/../b", "a/..", "/../etc"}) {
    EXPECT_ANY_THROW(normal(path)) << path;
  }
}

TEST(LayerPath, RefusesWhatNoFileSystemHolds) {
  EXPECT_EQ(normal(std::string(255, 'n')).size(), 255u);
  EXPECT_ANY_THROW(normal(std::string(256, 'n')));
  std::string deep;
  for (int i = 0; i < 2100; ++i)
    deep += "d/";
  EXPECT_ANY_THROW(normal(deep));
}

TEST(LayerPath, SplitsAtTheLastSlash) {
  kj::StringPtr path = "a/b/c";
  auto split = splitLayerPath(path);
  EXPECT_EQ(split.folder, "a/b");
  EXPECT_EQ(split.name, "c");
  EXPECT_EQ(splitLayerPath("c").folder, "");
}

TEST(Whiteout, IsToldByItsName) {
  EXPECT_EQ(classifyName("file").kind, WhiteoutKind::NONE);
  EXPECT_EQ(classifyName("wh.file").kind, WhiteoutKind::NONE);
  EXPECT_EQ(classifyName(".wh.file").kind, WhiteoutKind::NAME);
  EXPECT_EQ(classifyName(".wh.file").hidden, "file");
  EXPECT_EQ(classifyName(".wh..wh..opq").kind, WhiteoutKind::OPAQUE);
  EXPECT_EQ(classifyName(".wh..wh.plnk").kind, WhiteoutKind::IGNORED);
  EXPECT_EQ(classifyName(".wh..hidden").hidden, ".hidden");
}

TEST(Whiteout, OfNothingIsRefused) {
  for (const char* name : {".wh.", ".wh..", ".wh..."})
    EXPECT_ANY_THROW(classifyName(name)) << name;
}

}  // namespace
}  // namespace belay::snapshot
