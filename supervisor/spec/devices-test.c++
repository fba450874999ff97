// A container's device nodes. Reads the machine's own /dev/null and a folder made for the test.
#include "supervisor/spec/devices.h"

#include <capnp/message.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "supervisor/spec/expect-failure.h"

namespace belay::supervisor {
namespace {

using snapshot::Code;

class DevicesTest : public ::testing::Test {
 protected:
  ~DevicesTest() noexcept override = default;

  capnp::MallocMessageBuilder message;
  ContainerConfig::Builder config = message.initRoot<ContainerConfig>();
  kj::Array<DeviceNode> planned;

  void plan() { planned = planDevices(config); }

  Device::Builder addDevice(kj::StringPtr path, kj::StringPtr hostPath) {
    auto device = config.initDevices(1)[0];
    device.setContainerPath(path);
    device.setHostPath(hostPath);
    return device;
  }

  const DeviceNode* at(kj::StringPtr path) {
    for (auto& node : planned) {
      if (node.path == path) return &node;
    }
    return nullptr;
  }
};

TEST_F(DevicesTest, EveryContainerHasSix) {
  plan();
  EXPECT_EQ(planned.size(), 6u);
  ASSERT_NE(at("/dev/urandom"), nullptr);
  EXPECT_EQ(at("/dev/urandom")->major, 1u);
  EXPECT_EQ(at("/dev/urandom")->minor, 9u);
  EXPECT_EQ(at("/dev/urandom")->fileMode, 0666u);
  EXPECT_FALSE(at("/dev/urandom")->hostsOwner);
}

TEST_F(DevicesTest, ClientsDeviceIsDescribedByTheHostsNode) {
  addDevice("/dev/void", "/dev/null").setPermissions("r");
  plan();
  ASSERT_NE(at("/dev/void"), nullptr);
  EXPECT_EQ(at("/dev/void")->type, 'c');
  EXPECT_EQ(at("/dev/void")->major, 1u);
  EXPECT_EQ(at("/dev/void")->minor, 3u);
  EXPECT_EQ(at("/dev/void")->access, "r");
  EXPECT_EQ(at("/dev/void")->hostPath, "/dev/null");
}

TEST_F(DevicesTest, SamePathReplacesTheDefault) {
  addDevice("", "/dev/null").setPermissions("r");
  plan();
  EXPECT_EQ(planned.size(), 6u);
  EXPECT_EQ(at("/dev/null")->access, "r");
}

TEST_F(DevicesTest, FolderStandsForTheDevicesBelowIt) {
  auto folder = kj::str(::testing::TempDir(), "/devices");
  auto inner = kj::str(folder, "/inner");
  mkdir(folder.cStr(), 0700);
  mkdir(inner.cStr(), 0700);
  auto node = kj::str(inner, "/zero");
  unlink(node.cStr());
  if (mknod(node.cStr(), S_IFCHR | 0640, makedev(1, 5)) < 0) {
    GTEST_SKIP() << "mknod is not permitted here: needs root outside a user namespace";
  }
  auto link = kj::str(folder, "/link");
  unlink(link.cStr());
  ASSERT_EQ(symlink("/dev", link.cStr()), 0);
  addDevice("/dev/mine", folder);
  plan();
  EXPECT_EQ(planned.size(), 7u) << "a symbolic link was followed";
  ASSERT_NE(at("/dev/mine/inner/zero"), nullptr);
  EXPECT_EQ(at("/dev/mine/inner/zero")->minor, 5u);
}

TEST_F(DevicesTest, PrivilegedHasTheHostsButNotItsTerminals) {
  config.initSecurity().setPrivileged(true);
  plan();
  EXPECT_NE(at("/dev/null"), nullptr);
  EXPECT_EQ(at("/dev/ptmx"), nullptr);
  EXPECT_EQ(at("/dev/console"), nullptr);
  for (auto& node : planned) {
    EXPECT_FALSE(node.path.startsWith("/dev/pts/")) << node.path.cStr();
  }
}

TEST_F(DevicesTest, WhatIsNoDeviceIsRefused) {
  addDevice("/dev/x", "/dev/does-not-exist");
  expectFailure(Code::INVALID_ARGUMENT,
                "devices[0].host_path: cannot open /dev/does-not-exist: No such file",
                [&] { plan(); });
  addDevice("/dev/x", "/etc/passwd");
  expectFailure(Code::INVALID_ARGUMENT, "is neither a device nor a folder", [&] { plan(); });
  addDevice("/dev/x", "/dev/null").setPermissions("rx");
  expectFailure(Code::INVALID_ARGUMENT, "devices[0].permissions: \"rx\"", [&] { plan(); });
  addDevice("dev/x", "/dev/null");
  expectFailure(Code::INVALID_ARGUMENT, "devices[0].container_path", [&] { plan(); });
}

}  // namespace
}  // namespace belay::supervisor
