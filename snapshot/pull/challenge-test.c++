// Tests WWW-Authenticate headers and URLs as registries send them.
#include "snapshot/pull/challenge.h"

#include <gtest/gtest.h>

#include "snapshot/pull/url.h"

namespace belay::snapshot {
namespace {

TEST(Challenge, ReadsARegistrysBearerChallenge) {
  auto list = parseChallenges(
      "Bearer realm=\"https://auth.example/token\",service=\"registry, the \\\"one\\\"\","
      "scope=\"repository:a/b:pull,push\"");
  ASSERT_EQ(list.size(), 1u);
  EXPECT_EQ(list[0].scheme, "bearer");
  EXPECT_EQ(list[0].parameter("realm"), "https://auth.example/token");
  EXPECT_EQ(list[0].parameter("service"), "registry, the \"one\"");
  EXPECT_EQ(list[0].parameter("scope"), "repository:a/b:pull,push");
  EXPECT_EQ(list[0].parameter("error"), "");
}

TEST(Challenge, ReadsSeveralInOneHeader) {
  auto list =
      parseChallenges("Negotiate, Basic Realm = simple , charset=\"UTF-8\", bearer realm=x");
  ASSERT_EQ(list.size(), 3u);
  EXPECT_EQ(list[0].scheme, "negotiate");
  EXPECT_EQ(list[1].scheme, "basic");
  EXPECT_EQ(list[1].parameter("realm"), "simple");
  EXPECT_EQ(list[1].parameter("charset"), "UTF-8");
  EXPECT_EQ(list[2].parameter("realm"), "x");
}

TEST(Challenge, EndsAtNonsense) {
  EXPECT_EQ(parseChallenges("").size(), 0u);
  EXPECT_EQ(parseChallenges(",,, =").size(), 0u);
  EXPECT_EQ(parseChallenges("Basic realm=\"never closed").size(), 1u);
  EXPECT_EQ(parseChallenges("Basic realm=\"ends in \\").size(), 1u);
  EXPECT_EQ(parseChallenges("Basic realm=\"a\" ((((").size(), 1u);
}

TEST(Origin, IsSchemeHostAndPort) {
  EXPECT_EQ(originOf("https://registry.example/v2/").name(), "registry.example");
  EXPECT_EQ(originOf("http://127.0.0.1:5000").name(), "127.0.0.1:5000");
  EXPECT_EQ(originOf("http://[::1]:5000/x").name(), "[::1]:5000");
  EXPECT_TRUE(originOf("https://a.example/x") == originOf("https://a.example:443/y"));
  EXPECT_FALSE(originOf("https://a.example/") == originOf("http://a.example:443/"));
  EXPECT_FALSE(originOf("https://a.example/") == originOf("https://b.example/"));
}

TEST(Origin, IsForHttpWithoutUserOnly) {
  for (const char* url : {"", "file:///etc/passwd", "ftp://a.example/",
                          "https://user:pw@a.example/", "not a url", "gopher://a.example:70/"}) {
    EXPECT_ANY_THROW(originOf(url)) << url;
  }
}

}  // namespace
}  // namespace belay::snapshot
