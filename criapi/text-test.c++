// Tests for text between protobuf and Cap'n Proto, and for the names of fields.
#include "criapi/text.h"

#include <gtest/gtest.h>

#include "criapi/testing.h"

namespace belay::criapi {
namespace {

const Field FIELD("config");

TEST(Field, PathNamesMessagesAndItems) {
  EXPECT_EQ(FIELD["mounts"].at(2)["host_path"].path(), "config.mounts[2].host_path"_kj);
}

TEST(RequestText, RefusesNulBytesBecauseTheyWouldEndAPathEarly) {
  std::string path("/etc\0/shadow", 12);
  EXPECT_EQ(refusal([&]() { requestText(path, FIELD["path"]); }),
            "config.path: must not hold a NUL byte");
  EXPECT_EQ(requestText("/etc", FIELD), "/etc"_kj);
}

TEST(RequestText, RequiredTextMustBeThere) {
  EXPECT_EQ(refusal([&]() { requiredText("", FIELD["name"]); }), "config.name: must not be empty");
}

TEST(RequestText, AbsolutePathsStartWithASlash) {
  EXPECT_EQ(refusal([&]() { absolutePath("data", FIELD["path"]); }),
            "config.path: must be an absolute path, not \"data\"");
  EXPECT_EQ(absolutePath("/data", FIELD), "/data"_kj);
}

TEST(Climbs, OnlyWholeComponentsCount) {
  EXPECT_TRUE(climbs("../x"));
  EXPECT_TRUE(climbs("x/.."));
  EXPECT_TRUE(climbs("/a/../b"));
  EXPECT_FALSE(climbs("/a/..b/c../d"));
  EXPECT_FALSE(climbs(""));
}

TEST(ReplyText, ReplacesWhatIsNoUtf8) {
  EXPECT_EQ(replyText("caf\xc3\xa9"), "caf\xc3\xa9");
  EXPECT_EQ(replyText("caf\xe9!"), "caf\xef\xbf\xbd!");
}

TEST(Pairs, AreSortedSoThatEqualRequestsMakeEqualRecords) {
  StringMap map;
  map["b"] = "2";
  map["a"] = "1";
  map["c"] = "3";
  auto config =
      supervisor::Owned<supervisor::PodConfig>::make([&](supervisor::PodConfig::Builder builder) {
        fillPairs(builder.initLabels(3), map, FIELD);
      });
  EXPECT_EQ(config.get().getLabels()[0].getKey(), "a"_kj);
  EXPECT_EQ(config.get().getLabels()[2].getValue(), "3"_kj);

  StringMap back;
  readPairs(config.get().getLabels(), back);
  EXPECT_EQ(back.size(), 3);
  EXPECT_EQ(back["b"], "2");
}

}  // namespace
}  // namespace belay::criapi
