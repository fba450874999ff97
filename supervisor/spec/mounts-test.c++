// A container's mounts: the default ones, the client's, their order, and what is refused.
#include "supervisor/spec/mounts.h"

#include <capnp/message.h>

#include "supervisor/spec/expect-failure.h"

namespace belay::supervisor {
namespace {

using snapshot::Code;

class MountsTest : public ::testing::Test {
 protected:
  ~MountsTest() noexcept override = default;

  capnp::MallocMessageBuilder message;
  ContainerConfig::Builder config = message.initRoot<ContainerConfig>();
  kj::Vector<Owned<shim::Mount>> planned;

  void plan() { planned = planMounts(config, "/run/belay/pods/P"); }

  Mount::Builder addMount(kj::StringPtr destination, kj::StringPtr source) {
    auto mount = config.initMounts(1)[0];
    mount.setContainerPath(destination);
    mount.setHostPath(source);
    return mount;
  }

  kj::Maybe<shim::Mount::Reader> at(kj::StringPtr destination) {
    kj::Maybe<shim::Mount::Reader> found;
    for (auto& mount : planned) {
      if (mount.get().getDestination() != destination) continue;
      EXPECT_TRUE(found == nullptr) << destination.cStr() << " is mounted twice";
      found = mount.get();
    }
    return found;
  }

  size_t indexOf(kj::StringPtr destination) {
    for (size_t i = 0; i < planned.size(); ++i) {
      if (planned[i].get().getDestination() == destination) return i;
    }
    ADD_FAILURE() << "nothing at " << destination.cStr();
    return 0;
  }
};

TEST_F(MountsTest, DefaultsAreTheKernelsFilesystemsAndThePodsFiles) {
  plan();
  for (auto place : {"/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys",
                     "/sys/fs/cgroup", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"}) {
    EXPECT_TRUE(at(place) != nullptr) << place;
  }
  auto sys = KJ_ASSERT_NONNULL(at("/sys"));
  EXPECT_TRUE(sys.getReadonly() && sys.getNosuid() && sys.getNodev() && sys.getNoexec());
  EXPECT_FALSE(KJ_ASSERT_NONNULL(at("/dev")).getNodev());
  EXPECT_EQ(KJ_ASSERT_NONNULL(at("/etc/hosts")).getKind().getBind().getSource(),
            "/run/belay/pods/P/hosts");
}

TEST_F(MountsTest, PrivilegedMayWriteToSys) {
  config.initSecurity().setPrivileged(true);
  plan();
  EXPECT_FALSE(KJ_ASSERT_NONNULL(at("/sys")).getReadonly());
  EXPECT_FALSE(KJ_ASSERT_NONNULL(at("/sys/fs/cgroup")).getReadonly());
}

TEST_F(MountsTest, ParentsComeBeforeChildren) {
  addMount("/sys/fs/../fs/cgroup/x", "/x");
  plan();
  EXPECT_LT(indexOf("/dev"), indexOf("/dev/pts"));
  EXPECT_LT(indexOf("/sys"), indexOf("/sys/fs/cgroup"));
  EXPECT_LT(indexOf("/sys/fs/cgroup"), indexOf("/sys/fs/cgroup/x"));
}

TEST_F(MountsTest, ClientsMountReplacesADefaultOne) {
  addMount("/etc//hosts/", "/var/lib/kubelet/hosts").setReadonly(true);
  plan();
  auto hosts = KJ_ASSERT_NONNULL(at("/etc/hosts"));
  EXPECT_EQ(hosts.getKind().getBind().getSource(), "/var/lib/kubelet/hosts");
  EXPECT_TRUE(hosts.getReadonly());
  EXPECT_TRUE(hosts.getKind().getBind().getRecursive());
}

TEST_F(MountsTest, MountOptionsBecomeFlags) {
  auto options = addMount("/data", "/srv").initMountOptions(2);
  options.set(0, "noexec");
  options.set(1, "nosuid");
  plan();
  auto data = KJ_ASSERT_NONNULL(at("/data"));
  EXPECT_TRUE(data.getNoexec() && data.getNosuid());
  EXPECT_FALSE(data.getNodev());
  options.set(1, "suid");
  expectFailure(Code::INVALID_ARGUMENT, "mounts[0].mount_options: \"suid\"", [&] { plan(); });
}

TEST_F(MountsTest, RecursiveReadonlyNeedsReadonlyAndPrivate) {
  auto mount = addMount("/data", "/srv");
  mount.setRecursiveReadonly(true);
  expectFailure(Code::INVALID_ARGUMENT, "recursive_read_only: needs readonly", [&] { plan(); });
  mount.setReadonly(true);
  mount.setPropagation(shim::Mount::Propagation::SLAVE);
  expectFailure(Code::INVALID_ARGUMENT, "needs the propagation PRIVATE", [&] { plan(); });
  mount.setPropagation(shim::Mount::Propagation::PRIVATE);
  plan();
  EXPECT_TRUE(KJ_ASSERT_NONNULL(at("/data")).getRecursiveReadonly());
}

TEST_F(MountsTest, BadPathsAreRefusedWithTheirField) {
  struct {
    const char *destination, *source, *sentence;
  } cases[] = {
      {"", "/x", "mounts[0].container_path: must be given"},
      {"data", "/x", "mounts[0].container_path: \"data\" is not an absolute path"},
      {"/", "/x", "the root cannot be mounted over"},
      {"/a/../..", "/x", "the root cannot be mounted over"},
      {"/data", "", "mounts[0].host_path: must be given"},
      {"/data", "x", "mounts[0].host_path: \"x\" is not an absolute path"},
  };
  for (auto& one : cases) {
    addMount(one.destination, one.source);
    expectFailure(Code::INVALID_ARGUMENT, one.sentence, [&] { plan(); });
  }
}

TEST_F(MountsTest, WhatIsNotBuiltIsNamed) {
  addMount("/data", "/x").setImage("image");
  expectFailure(Code::UNIMPLEMENTED, "ImageVolumeMountFailed: mounts[0].image", [&] { plan(); });
  addMount("/data", "/x").initUidMappings(1);
  expectFailure(Code::UNIMPLEMENTED, "mounts[0].uidMappings", [&] { plan(); });
}

}  // namespace
}  // namespace belay::supervisor
