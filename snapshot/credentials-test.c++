// Which of the secrets that PullImage may carry is used, and for whom.
#include "snapshot/credentials.h"

#include <capnp/message.h>
#include <gtest/gtest.h>

#include "snapshot/failure.h"

namespace belay::snapshot {
namespace {

struct CredentialsTest : public ::testing::Test {
  capnp::MallocMessageBuilder message;
  RegistryCredentials given;

  ~CredentialsTest() noexcept override {}

  Credentials::Reader choose(kj::StringPtr reference) {
    auto root = message.initRoot<Credentials>();
    chooseCredentials(given, Reference::parse(reference), root);
    return root.asReader();
  }
};

TEST_F(CredentialsTest, NothingIsAnonymous) {
  EXPECT_TRUE(choose("busybox").isAnonymous());
}

TEST_F(CredentialsTest, PasswordComesFirst) {
  given.username = kj::str("me");
  given.password = kj::str("secret");
  given.identityToken = kj::str("token");
  auto chosen = choose("r.example/app");
  ASSERT_TRUE(chosen.isBasic());
  EXPECT_EQ(chosen.getBasic().getUsername(), "me");
  EXPECT_EQ(chosen.getBasic().getPassword(), "secret");
}

TEST_F(CredentialsTest, TokensAreTold) {
  given.registryToken = kj::str("bearer");
  EXPECT_EQ(choose("r.example/app").getRegistryToken(), "bearer");
  given.identityToken = kj::str("refresh");
  EXPECT_EQ(choose("r.example/app").getIdentityToken(), "refresh");
}

TEST_F(CredentialsTest, AuthIsDecoded) {
  given.auth = kj::str("bWU6c2U6Y3JldAAA");  // "me:se:cret" and two NULs
  auto chosen = choose("r.example/app");
  ASSERT_TRUE(chosen.isBasic());
  EXPECT_EQ(chosen.getBasic().getUsername(), "me");
  EXPECT_EQ(chosen.getBasic().getPassword(), "se:cret");
}

TEST_F(CredentialsTest, MalformedAuthIsRefusedWithoutRepeatingIt) {
  given.auth = kj::str("c2VjcmV0d2l0aG91dGNvbG9u");
  try {
    choose("r.example/app");
    FAIL() << "accepted";
  } catch (const kj::Exception& exception) {
    EXPECT_EQ(codeOf(exception), Code::INVALID_ARGUMENT);
    EXPECT_EQ(strstr(exception.getDescription().cStr(), "secret"), nullptr);
    EXPECT_EQ(strstr(exception.getDescription().cStr(), "c2Vj"), nullptr);
  }
}

TEST_F(CredentialsTest, SecretsStayWithTheirServer) {
  given.username = kj::str("me");
  given.serverAddress = kj::str("https://other.example/v1/");
  EXPECT_TRUE(choose("r.example/app").isAnonymous());
  EXPECT_TRUE(choose("other.example/app").isBasic());
  given.serverAddress = kj::str("r.example:5000");
  EXPECT_TRUE(choose("r.example/app").isAnonymous());
  EXPECT_TRUE(choose("r.example:5000/app").isBasic());
  given.serverAddress = kj::str("https://index.docker.io/v1/");
  EXPECT_TRUE(choose("busybox").isBasic());
}

}  // namespace
}  // namespace belay::snapshot
