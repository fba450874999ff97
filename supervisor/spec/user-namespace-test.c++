// User namespaces that are refused, and what the accepted ones become.
#include "supervisor/spec/user-namespace.h"

#include <capnp/message.h>

#include "supervisor/spec/expect-failure.h"

namespace belay::supervisor {
namespace {

using shim::NamespaceMode;
using snapshot::Code;

class UserNamespaceTest : public ::testing::Test {
 protected:
  ~UserNamespaceTest() noexcept override = default;

  void SetUp() override {
    options.setPid(NamespaceMode::CONTAINER);
    options.setUsernsMode(NamespaceMode::POD);
    uids = options.initUidMappings(1);
    gids = options.initGidMappings(1);
    for (auto mapping : {uids[0], gids[0]}) {
      mapping.setHostId(100000);
      mapping.setLength(65536);
    }
  }

  void expectRefused(const char* sentence) {
    expectFailure(Code::INVALID_ARGUMENT, sentence, [&] { checkUserNamespace(options); });
  }

  capnp::MallocMessageBuilder message, idsMessage;
  NamespaceOptions::Builder options = message.initRoot<NamespaceOptions>();
  shim::IdMap::Builder ids = idsMessage.initRoot<shim::IdMap>();
  capnp::List<IdMapping>::Builder uids, gids;
};

TEST_F(UserNamespaceTest, OneMappingOfAllIdsIsTaken) {
  checkUserNamespace(options);
  fillIds(ids, options);
  EXPECT_EQ(ids.getFirstHostId(), 100000u);
  EXPECT_EQ(ids.getCount(), 65536u);
}

TEST_F(UserNamespaceTest, TheHostsHasNoMapping) {
  options.setUsernsMode(NamespaceMode::NODE);
  expectRefused("userns_options: mappings are given for the host's user namespace");
  options.initUidMappings(0);
  options.initGidMappings(0);
  checkUserNamespace(options);
  fillIds(ids, options);
  EXPECT_EQ(ids.getCount(), 0u);
}

TEST_F(UserNamespaceTest, OnlyThePodsAndTheHostsExist) {
  for (auto mode : {NamespaceMode::CONTAINER, NamespaceMode::TARGET}) {
    options.setUsernsMode(mode);
    expectRefused("userns_options.mode: must be POD or NODE");
  }
}

TEST_F(UserNamespaceTest, ThereIsExactlyOneMapping) {
  options.initUidMappings(2);
  expectRefused("userns_options.uids: must hold exactly one mapping, not 2");
  options.initUidMappings(0);
  expectRefused("userns_options.uids: must hold exactly one mapping, not 0");
}

TEST_F(UserNamespaceTest, TheContainersRootIsMapped) {
  gids[0].setContainerId(1);
  expectRefused("userns_options.gids: must map the container's id 0, and begins with 1");
}

TEST_F(UserNamespaceTest, AMappingMapsIdsThatExist) {
  uids[0].setLength(0);
  expectRefused("userns_options.uids: has the length 0");
  uids[0].setLength(0xffffffff);
  expectRefused("userns_options.uids: 4294967295 ids from 100000 on reach beyond the last one");
  for (auto mapping : {uids[0], gids[0]}) {
    mapping.setHostId(0);
    mapping.setLength(0xffffffff);
  }
  checkUserNamespace(options);
}

TEST_F(UserNamespaceTest, UidsAndGidsAreMappedAlike) {
  gids[0].setHostId(200000);
  expectRefused("userns_options: uids and gids must have the same mapping");
}

TEST_F(UserNamespaceTest, TheHostsPidAndIpcNamespacesDoNotGoWithIt) {
  options.setPid(NamespaceMode::NODE);
  expectRefused("namespace_options.pid: must not be NODE");
  options.setPid(NamespaceMode::POD);
  options.setIpc(NamespaceMode::NODE);
  expectRefused("namespace_options.ipc: must not be NODE");
  options.setIpc(NamespaceMode::POD);
  options.setNetwork(NamespaceMode::NODE);
  checkUserNamespace(options);
}

TEST_F(UserNamespaceTest, ANodeThatCannotSaysWhy) {
  requireUserNamespaces(options, "");
  expectFailure(Code::FAILED_PRECONDITION, "userns_options: this node cannot give a pod",
                [&] { requireUserNamespaces(options, "Cannot mount."); });
  options.setUsernsMode(NamespaceMode::NODE);
  requireUserNamespaces(options, "Cannot mount.");
}

}  // namespace
}  // namespace belay::supervisor
