// A container's mounts: the default ones, the client's, their order, and what is refused.
#include "supervisor/spec/mounts.h"

#include <capnp/message.h>

#include "snapshot/image.capnp.h"
#include "supervisor/spec/expect-failure.h"

namespace belay::supervisor {
namespace {

using snapshot::Code;

class MountsTest : public ::testing::Test {
 protected:
  ~MountsTest() noexcept override = default;

  capnp::MallocMessageBuilder message, imageMessage, idsMessage;
  ContainerConfig::Builder config = message.initRoot<ContainerConfig>();
  snapshot::ImageConfig::Builder image = imageMessage.initRoot<snapshot::ImageConfig>();
  shim::IdMap::Builder ids = idsMessage.initRoot<shim::IdMap>();
  kj::Vector<Owned<shim::Mount>> planned;

  void plan() { planned = planMounts({config, image.getVolumes(), ids, "/run/belay/pods/P"}); }

  // The pod has a user namespace of its own.
  void givePodIds() {
    ids.setFirstHostId(65536);
    ids.setCount(65536);
  }

  static void map(capnp::List<IdMapping>::Builder mappings, uint32_t hostId) {
    mappings[0].setHostId(hostId);
    mappings[0].setLength(65536);
  }

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
}

TEST_F(MountsTest, MountsAreMappedLikeTheirPod) {
  auto mount = addMount("/data", "/x");
  map(mount.initUidMappings(1), 65536);
  expectFailure(Code::INVALID_ARGUMENT, "mounts[0].uidMappings: the pod has no user namespace",
                [&] { plan(); });
  givePodIds();
  expectFailure(Code::INVALID_ARGUMENT, "mounts[0].gidMappings: must be the pod's mapping",
                [&] { plan(); });
  map(mount.initGidMappings(1), 65536);
  plan();
  EXPECT_TRUE(KJ_ASSERT_NONNULL(at("/data")).getIdMapped());
  EXPECT_FALSE(KJ_ASSERT_NONNULL(at("/etc/hosts")).getIdMapped());
  map(mount.getUidMappings(), 0);
  expectFailure(Code::INVALID_ARGUMENT, "mounts[0].uidMappings: must be the pod's mapping",
                [&] { plan(); });
}

TEST_F(MountsTest, NoMountReachesTheHostFromAUserNamespace) {
  addMount("/data", "/x").setPropagation(shim::Mount::Propagation::SHARED);
  plan();
  givePodIds();
  expectFailure(Code::INVALID_ARGUMENT, "mounts[0].propagation: must not be BIDIRECTIONAL",
                [&] { plan(); });
}

TEST_F(MountsTest, VolumesOfTheImageCountWhereNothingIsMounted) {
  addMount("/data", "/x");
  auto volumes = image.initVolumes(4);
  volumes.set(0, "/var/lib/db/");
  volumes.set(1, "/data/below");
  volumes.set(2, "/sys/fs/cgroup");
  volumes.set(3, "/data");
  plan();
  EXPECT_TRUE(KJ_ASSERT_NONNULL(at("/var/lib/db")).getKind().isVolume());
  EXPECT_TRUE(at("/data/below") == nullptr);
  EXPECT_TRUE(KJ_ASSERT_NONNULL(at("/sys/fs/cgroup")).getKind().isCgroup());
  EXPECT_TRUE(KJ_ASSERT_NONNULL(at("/data")).getKind().isBind());
  volumes.set(0, "/");
  expectFailure(Code::INVALID_ARGUMENT, "the image's volumes: the root cannot be one",
                [&] { plan(); });
}

}  // namespace
}  // namespace belay::supervisor
