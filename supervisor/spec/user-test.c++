// Who a container's processes are: the CRI's rules.
#include "supervisor/spec/user.h"

#include <capnp/message.h>

#include "supervisor/spec/expect-failure.h"

namespace belay::supervisor {
namespace {

using snapshot::Code;

class UserTest : public ::testing::Test {
 protected:
  ~UserTest() noexcept override = default;

  capnp::MallocMessageBuilder securityMessage, imageMessage, userMessage;
  SecurityContext::Builder security = securityMessage.initRoot<SecurityContext>();
  snapshot::ImageConfig::Builder image = imageMessage.initRoot<snapshot::ImageConfig>();

  shim::User::Reader fill() {
    auto user = userMessage.initRoot<shim::User>();
    fillUser(user, security, image);
    return user;
  }
};

TEST_F(UserTest, RootUnlessSomebodySaysOtherwise) {
  auto user = fill();
  ASSERT_TRUE(user.isUid());
  EXPECT_EQ(user.getUid(), 0u);
  EXPECT_TRUE(user.getGroup().isFromPasswd());
}

TEST_F(UserTest, ImagesUserIsLeftToBeLookedUp) {
  image.setUser("app:www");
  auto user = fill();
  ASSERT_TRUE(user.isName());
  EXPECT_EQ(user.getName(), "app:www");
}

TEST_F(UserTest, RunAsUserBeatsTheImage) {
  image.setUser("app");
  security.initRunAsUser().setValue(1000);
  security.initRunAsGroup().setValue(2000);
  auto user = fill();
  EXPECT_EQ(user.getUid(), 1000u);
  EXPECT_EQ(user.getGroup().getGid(), 2000u);
}

TEST_F(UserTest, GroupWithoutUserIsRefused) {
  image.setUser("app");
  security.initRunAsGroup().setValue(2000);
  expectFailure(Code::INVALID_ARGUMENT, "run_as_group: needs run_as_user", [&] { fill(); });
  security.setRunAsUsername("app");
  EXPECT_EQ(fill().getGroup().getGid(), 2000u);
}

TEST_F(UserTest, TwoUsersAreRefused) {
  security.initRunAsUser().setValue(1);
  security.setRunAsUsername("app");
  expectFailure(Code::INVALID_ARGUMENT, "only one may be", [&] { fill(); });
}

TEST_F(UserTest, IdsBeyondTheKernelsAreRefused) {
  for (int64_t wrong : {int64_t(-1), int64_t(0xffffffff), int64_t(1) << 40}) {
    security.initRunAsUser().setValue(wrong);
    expectFailure(Code::INVALID_ARGUMENT, "run_as_user: ", [&] { fill(); });
  }
  security.initRunAsUser().setValue(0xfffffffe);
  EXPECT_EQ(fill().getUid(), 0xfffffffeu);
}

TEST_F(UserTest, SupplementalGroupsAreChecked) {
  auto groups = security.initSupplementalGroups(2);
  groups.set(0, 10);
  groups.set(1, 20);
  security.setStrictGroups(true);
  auto user = fill();
  EXPECT_EQ(user.getAdditionalGids()[1], 20u);
  EXPECT_TRUE(user.getStrictGroups());
  groups.set(1, -5);
  expectFailure(Code::INVALID_ARGUMENT, "supplemental_groups: -5", [&] { fill(); });
}

}  // namespace
}  // namespace belay::supervisor
