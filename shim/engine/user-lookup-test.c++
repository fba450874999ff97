// Tests of looking users up.
#include "shim/engine/user-lookup.h"

#include <capnp/message.h>
#include <gtest/gtest.h>
#include <kj/string.h>

#include <random>
#include <vector>

namespace belay::shim {
namespace {

constexpr kj::StringPtr PASSWD =
    "root:x:0:0:root:/root:/bin/sh\n"
    "broken:x:none:1::\n"
    "\n"
    "web:x:1000:1001:Web,,,:/home/web:/bin/sh\n"
    "7000:x:1003:1003::/home/digits:/bin/sh"_kj;

constexpr kj::StringPtr GROUP =
    "root:x:0:\n"
    "web:x:1001:\n"
    "logs:x:1002:daemon,web\n"
    "webmasters:x:1004:webmaster\n"
    "again:x:1002:web\n"_kj;

class UserLookupTest : public ::testing::Test {
 protected:
  ~UserLookupTest() noexcept override {}

  capnp::MallocMessageBuilder message;
  User::Builder user = message.initRoot<User>();
  FoundUser found;

  const char* lookUp(kj::StringPtr passwd = PASSWD, kj::StringPtr group = GROUP) {
    return lookUpUser(user.asReader(), passwd, group, found);
  }

  std::vector<gid_t> groups() { return {found.groups, found.groups + found.groupCount}; }
  kj::String home() { return kj::heapString(found.home); }
};

TEST_F(UserLookupTest, NameHasIdsHomeAndItsGroups) {
  user.setName("web");
  ASSERT_EQ(lookUp(), nullptr);
  EXPECT_EQ(found.uid, 1000);
  EXPECT_EQ(found.gid, 1001);
  EXPECT_TRUE(home() == "/home/web");
  EXPECT_EQ(groups(), (std::vector<gid_t>{1001, 1002}));
}

TEST_F(UserLookupTest, NumberWithAnEntryIsThatUser) {
  user.setUid(1000);
  ASSERT_EQ(lookUp(), nullptr);
  EXPECT_EQ(found.gid, 1001);
  EXPECT_EQ(groups(), (std::vector<gid_t>{1001, 1002}));
}

TEST_F(UserLookupTest, NumberWithoutAnEntryHasGroupZero) {
  user.setUid(4711);
  ASSERT_EQ(lookUp(), nullptr);
  EXPECT_EQ(found.uid, 4711);
  EXPECT_EQ(found.gid, 0);
  EXPECT_EQ(groups(), (std::vector<gid_t>{0}));
  EXPECT_EQ(found.home.size(), 0);
}

TEST_F(UserLookupTest, ANumberIsNeverAName) {
  user.setName("7000");
  ASSERT_EQ(lookUp(), nullptr);
  EXPECT_EQ(found.uid, 7000);
  // The kubelet's runAsNonRoot has let these pass as what they say.
  user.setName("1000:50");
  ASSERT_EQ(lookUp("1000:x:0:0:root:/root:/bin/sh\n", "50:x:0:\n"), nullptr);
  EXPECT_EQ(found.uid, 1000);
  EXPECT_EQ(found.gid, 50);
  user.setName("4294967296");
  EXPECT_STREQ(lookUp("4294967296:x:0:0:root:/root:/bin/sh\n"), "the number is no user id");
  user.setName("1000:4294967295");
  EXPECT_STREQ(lookUp(), "the image's /etc/group has no such group");
}

TEST_F(UserLookupTest, UnknownNameIsAnError) {
  user.setName("nobody-here");
  EXPECT_STREQ(lookUp(), "the image's /etc/passwd has no such user");
  user.setName("we");
  EXPECT_NE(lookUp(), nullptr);
  user.setName("broken");
  EXPECT_NE(lookUp(), nullptr);
}

TEST_F(UserLookupTest, AnEmptyNameIsRoot) {
  user.setName("");
  ASSERT_EQ(lookUp(), nullptr);
  EXPECT_EQ(found.uid, 0);
  EXPECT_TRUE(home() == "/root");
}

TEST_F(UserLookupTest, GroupOfTheNameCounts) {
  user.setName("web:logs");
  ASSERT_EQ(lookUp(), nullptr);
  EXPECT_EQ(found.gid, 1002);
  user.setName("web:55");
  ASSERT_EQ(lookUp(), nullptr);
  EXPECT_EQ(found.gid, 55);
  user.setName("4711:4712");
  ASSERT_EQ(lookUp("", ""), nullptr);
  EXPECT_EQ(found.uid, 4711);
  EXPECT_EQ(found.gid, 4712);
  user.setName("web:nogroup");
  EXPECT_STREQ(lookUp(), "the image's /etc/group has no such group");
}

TEST_F(UserLookupTest, TheCrisGroupWinsOverTheImages) {
  user.setName("web:logs");
  user.getGroup().setGid(77);
  ASSERT_EQ(lookUp(), nullptr);
  EXPECT_EQ(found.gid, 77);
}

TEST_F(UserLookupTest, StrictTakesNothingFromTheImage) {
  user.setName("web");
  user.initAdditionalGids(2).set(0, 4711);
  user.getAdditionalGids().set(1, 1001);
  user.setStrictGroups(true);
  ASSERT_EQ(lookUp(), nullptr);
  EXPECT_EQ(groups(), (std::vector<gid_t>{1001, 4711}));
  user.setStrictGroups(false);
  ASSERT_EQ(lookUp(), nullptr);
  EXPECT_EQ(groups(), (std::vector<gid_t>{1001, 4711, 1002}));
}

TEST_F(UserLookupTest, IdsThatAreNoneAreErrors) {
  user.setUid(0xffffffff);
  EXPECT_NE(lookUp(), nullptr);
  user.setName("4294967295");
  EXPECT_NE(lookUp(), nullptr);
  user.setName("99999999999999999999");
  EXPECT_NE(lookUp(), nullptr);
  user.setName("web");
  user.getGroup().setGid(0xffffffff);
  EXPECT_NE(lookUp(), nullptr);
}

TEST_F(UserLookupTest, SurvivesDamagedFiles) {
  std::mt19937 random(1);
  user.setName("web");
  for (int round = 0; round < 3000; ++round) {
    // Of the exact size, so that reading past the end is seen.
    auto passwd = kj::heapArray(PASSWD.begin(), random() % PASSWD.size());
    auto group = kj::heapArray(GROUP.begin(), random() % GROUP.size());
    for (int i = 0; i < 4 && passwd.size() > 0 && group.size() > 0; ++i) {
      passwd[random() % passwd.size()] = ":,\n0w\0"[random() % 6];
      group[random() % group.size()] = ":,\n0w\0"[random() % 6];
    }
    const char* reason = lookUpUser(user.asReader(), passwd, group, found);
    if (reason == nullptr) {
      EXPECT_LE(found.groupCount, Report::MAX_GROUPS);
      EXPECT_EQ(found.groups[0], found.gid);
    }
  }
}

TEST_F(UserLookupTest, TooManyGroupsAreAnError) {
  kj::Vector<char> text;
  for (int i = 0; i < 2000; ++i)
    text.addAll(kj::str("g", i, ":x:", 5000 + i, ":web\n"));
  text.add('\0');
  user.setName("web");
  EXPECT_STREQ(lookUp(PASSWD, text.begin()), "it is in more than 1024 groups");
}

}  // namespace
}  // namespace belay::shim
