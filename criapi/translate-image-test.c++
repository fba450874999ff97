// Tests for images between the CRI and the supervisor.
#include "criapi/translate-image.h"

#include <gtest/gtest.h>

#include "criapi/testing.h"

namespace belay::criapi {
namespace {

namespace v1 = runtime::v1;

v1::Image withUser(kj::StringPtr user) {
  auto image = supervisor::Owned<snapshot::Image>::make(
      [&](snapshot::Image::Builder builder) { builder.initConfig().setUser(user); });
  v1::Image item;
  readImage(image.get(), item);
  return item;
}

TEST(Image, CarriesNamesAndSize) {
  auto image = supervisor::Owned<snapshot::Image>::make([](snapshot::Image::Builder builder) {
    builder.setId("sha256:1234");
    builder.setSizeBytes(99);
    builder.initRepoTags(1).set(0, "r/a:1");
    builder.initRepoDigests(1).set(0, "r/a@sha256:77");
    builder.setPinned(true);
  });
  v1::Image item;
  readImage(image.get(), item);
  EXPECT_EQ(item.id(), "sha256:1234");
  EXPECT_EQ(item.size(), 99);
  EXPECT_EQ(item.repo_tags(0), "r/a:1");
  EXPECT_EQ(item.repo_digests(0), "r/a@sha256:77");
  EXPECT_TRUE(item.pinned());
}

TEST(Image, UserIsANumberOrANameOrNeither) {
  EXPECT_EQ(withUser("1000:50").uid().value(), 1000);
  EXPECT_EQ(withUser("1000:50").username(), "");
  EXPECT_EQ(withUser("0").uid().value(), 0);
  EXPECT_TRUE(withUser("0").has_uid());
  EXPECT_EQ(withUser("www:www").username(), "www");
  EXPECT_FALSE(withUser("www:www").has_uid());
  EXPECT_FALSE(withUser("").has_uid());
  EXPECT_EQ(withUser("").username(), "");
}

TEST(Image, AUserThatTheShimLooksUpAsANameIsOne) {
  for (kj::StringPtr text : {"0x3e8"_kj, "+1000"_kj, " 1000"_kj, "1000 "_kj, "4294967295"_kj,
                             "4294967296"_kj, "18446744073709551617"_kj}) {
    EXPECT_FALSE(withUser(text).has_uid()) << text.cStr();
    EXPECT_EQ(withUser(text).username(), text.cStr());
  }
  EXPECT_EQ(withUser("010").uid().value(), 10);
}

TEST(Credentials, AreTakenOver) {
  v1::AuthConfig auth;
  auth.set_username("u");
  auth.set_password("p w");
  auth.set_auth("dTpw");
  auth.set_server_address("registry.local");
  auth.set_identity_token("i");
  auth.set_registry_token("r");
  auto credentials = credentialsOf(auth, Field("auth"));
  EXPECT_EQ(credentials.username, "u"_kj);
  EXPECT_EQ(credentials.password, "p w"_kj);
  EXPECT_EQ(credentials.auth, "dTpw"_kj);
  EXPECT_EQ(credentials.serverAddress, "registry.local"_kj);
  EXPECT_EQ(credentials.identityToken, "i"_kj);
  EXPECT_EQ(credentials.registryToken, "r"_kj);
}

TEST(Credentials, CannotAddLinesToARequestAndAreNotShown) {
  v1::AuthConfig auth;
  auth.set_registry_token("secret\r\nHost: elsewhere");
  EXPECT_EQ(refusal([&]() { credentialsOf(auth, Field("auth")); }),
            "auth.registry_token: must not hold control characters");
}

TEST(ImageReference, MustBeThere) {
  EXPECT_EQ(refusal([]() { imageReferenceOf({}, Field("image")); }),
            "image.image: must not be empty");
}

}  // namespace
}  // namespace belay::criapi
