// System tests of a container's mounts: volumes, their propagation, and what an image does to lead
// them astray.
#include "shim/engine/rootfs-mounts.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <filesystem>

#include "shim/engine/engine-test-fixture.h"

namespace belay::shim {
namespace {

class RootfsMountsTest : public EngineTest {};

TEST_F(RootfsMountsTest, BindsDirectoriesAndFiles) {
  auto source = kj::str(directory, "/volume");
  std::filesystem::create_directories(source.cStr());
  KJ_SYSCALL(symlink("nowhere", kj::str(source, "/link").cStr()));
  auto volume = addMount("/data");
  volume.setReadonly(true);
  volume.getKind().initBind().setSource(source);
  auto hosts = addMount("/etc/hosts");
  hosts.getKind().initBind().setSource(imagePath("etc/group"));
  EXPECT_EQ(outputOf("readlink /data/link; touch /data/x 2>/dev/null || echo protected;"
                     "head -n 1 /etc/hosts"),
            "nowhere\nprotected\nroot:x:0:\n");
}

// A volume that is a shared mount of the host's, as systemd makes all of them.
class PropagationTest : public RootfsMountsTest {
 protected:
  kj::String source = kj::str(directory, "/volume");

  void SetUp() override {
    RootfsMountsTest::SetUp();
    if (IsSkipped()) return;
    std::filesystem::create_directories(source.cStr());
    KJ_SYSCALL(mount("volume", source.cStr(), "tmpfs", 0, nullptr));
    KJ_SYSCALL(mount(nullptr, source.cStr(), nullptr, MS_SHARED, nullptr));
    std::filesystem::create_directories(kj::str(source, "/sub").cStr());
  }

  void TearDown() override {
    if (!IsSkipped()) {
      umount2(kj::str(source, "/sub").cStr(), MNT_DETACH);
      KJ_SYSCALL(umount2(source.cStr(), MNT_DETACH));
    }
    RootfsMountsTest::TearDown();
  }

  // What the container finds in the volume's folder, upon which the host mounts something with a
  // file in it after the container was made.
  kj::String seenAfterMount(Mount::Propagation propagation) {
    auto volume = addMount("/data");
    volume.setPropagation(propagation);
    volume.getKind().initBind().setSource(source);
    volume.getKind().getBind().setRecursive(true);
    setScript(containerSpec().getProcess(), "ls /data/sub");
    auto prepared = prepareWell();
    auto sub = kj::str(source, "/sub");
    KJ_SYSCALL(mount("sub", sub.cStr(), "tmpfs", 0, nullptr));
    KJ_SYSCALL(close(open(kj::str(sub, "/late").cStr(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644)));
    return finish(kj::mv(prepared)).output;
  }

  // Why a container with such a volume cannot be made.
  kj::String failureOf(kj::StringPtr path, Mount::Propagation propagation) {
    auto volume = addMount("/data");
    volume.setPropagation(propagation);
    volume.getKind().initBind().setSource(path);
    auto prepared = prepare();
    KJ_REQUIRE(prepared.is<FailureValue>(), "The container was made.");
    auto spec = containerSpec();
    auto old = spec.disownMounts();
    auto mounts = spec.initMounts(old.getReader().size() - 1);
    for (uint i : kj::indices(mounts))
      mounts.setWithCaveats(i, old.getReader()[i]);
    return kj::mv(prepared.get<FailureValue>().message);
  }

  // True if the host sees what a container with the right to mount mounts in its volume.
  bool mountOfContainerReachesHost(Mount::Propagation propagation) {
    constexpr uint64_t SYS_ADMIN = 1 << 21;
    auto capabilities = containerSpec().getProcess().getCapabilities();
    capabilities.setBounding(SYS_ADMIN);
    capabilities.setEffective(SYS_ADMIN);
    capabilities.setPermitted(SYS_ADMIN);
    auto volume = addMount("/data");
    volume.setPropagation(propagation);
    volume.getKind().initBind().setSource(source);
    setScript(containerSpec().getProcess(),
              "mount -t tmpfs inner /data/sub && touch /data/sub/inner");
    EXPECT_EQ(run().code, 0);
    return std::filesystem::exists(kj::str(source, "/sub/inner").cStr());
  }
};

TEST_F(PropagationTest, PrivateVolumesShowNoLaterMount) {
  EXPECT_EQ(seenAfterMount(Mount::Propagation::PRIVATE), "");
}

TEST_F(PropagationTest, SlaveVolumesShowLaterMountsOfTheHost) {
  EXPECT_EQ(seenAfterMount(Mount::Propagation::SLAVE), "late\n");
}

TEST_F(PropagationTest, PrivateSourcesCannotPropagate) {
  KJ_SYSCALL(mount(nullptr, source.cStr(), nullptr, MS_PRIVATE, nullptr));
  auto refusal = [&](Mount::Propagation propagation) {
    return failureOf(kj::str(source, "/sub"), propagation);
  };
  EXPECT_EQ(refusal(Mount::Propagation::SHARED),
            kj::str("Cannot propagate mounts of ", source, "/sub: it is mounted on ", source,
                    " but it is not a shared mount (mount --make-rshared makes it one)."));
  EXPECT_EQ(refusal(Mount::Propagation::SLAVE),
            kj::str("Cannot propagate mounts of ", source, "/sub: it is mounted on ", source,
                    " but it is not a shared or slave mount."));
}

TEST_F(PropagationTest, ASlaveSourceCannotReachTheHost) {
  auto copy = kj::str(directory, "/copy");
  std::filesystem::create_directories(copy.cStr());
  KJ_SYSCALL(mount(source.cStr(), copy.cStr(), nullptr, MS_BIND, nullptr));
  KJ_DEFER(KJ_SYSCALL(umount2(copy.cStr(), MNT_DETACH)));
  KJ_SYSCALL(mount(nullptr, copy.cStr(), nullptr, MS_SLAVE, nullptr));
  EXPECT_TRUE(strstr(failureOf(copy, Mount::Propagation::SHARED).cStr(), "not a shared mount"));
  auto volume = addMount("/good");
  volume.setPropagation(Mount::Propagation::SLAVE);
  volume.getKind().initBind().setSource(copy);
  outputOf("true");
}

TEST_F(PropagationTest, SharedVolumesGoBothWays) {
  EXPECT_TRUE(mountOfContainerReachesHost(Mount::Propagation::SHARED));
}

TEST_F(PropagationTest, SlaveVolumesDoNotReachTheHost) {
  EXPECT_FALSE(mountOfContainerReachesHost(Mount::Propagation::SLAVE));
}

TEST_F(RootfsMountsTest, RecursiveReadonlyReachesMountsBelow) {
  auto source = kj::str(directory, "/volume");
  auto sub = kj::str(source, "/sub");
  std::filesystem::create_directories(sub.cStr());
  KJ_SYSCALL(mount("sub", sub.cStr(), "tmpfs", 0, nullptr));
  KJ_DEFER(KJ_SYSCALL(umount2(sub.cStr(), MNT_DETACH)));
  for (auto path : {"/flat"_kj, "/deep"_kj}) {
    auto volume = addMount(path);
    volume.setReadonly(true);
    volume.setRecursiveReadonly(path == "/deep"_kj);
    volume.getKind().initBind().setSource(source);
    volume.getKind().getBind().setRecursive(true);
  }
  EXPECT_EQ(
      outputOf("touch /flat/x 2>/dev/null || echo protected; touch /flat/sub/x && echo written;"
               "touch /deep/sub/y 2>/dev/null || echo protected"),
      "protected\nwritten\nprotected\n");
}

TEST_F(RootfsMountsTest, VolumesOfTheImageStayWritable) {
  std::filesystem::create_directories(imagePath("var/data").cStr());
  writeImageFile("var/data/from-image", "x");
  KJ_SYSCALL(symlink("var/data", imagePath("link").cStr()));
  containerSpec().getRootfs().setReadonly(true);
  addMount("/link").getKind().setVolume();
  addMount("/new/volume").getKind().setVolume();
  EXPECT_EQ(outputOf("touch /mine 2>/dev/null || echo protected; ls /var/data;"
                     "touch /var/data/mine /new/volume/mine && echo written"),
            "protected\nfrom-image\nwritten\n");
  EXPECT_TRUE(std::filesystem::exists(kj::str(directory, "/upper/var/data/mine").cStr()));
}

TEST_F(RootfsMountsTest, SourcesMayBeLinks) {
  writeImageFile("tmp/real", "found\n");
  auto link = kj::str(directory, "/link");
  KJ_SYSCALL(symlink("image/tmp/real", link.cStr()));
  addMount("/data").getKind().initBind().setSource(link);
  EXPECT_EQ(outputOf("cat /data"), "found\n");
}

TEST_F(RootfsMountsTest, FollowsADanglingLinkInsideTheRootfs) {
  // As distributions with systemd-resolved ship it.
  KJ_SYSCALL(symlink("../run/resolve/resolved.conf", imagePath("etc/resolv.conf").cStr()));
  addMount("/etc/resolv.conf").getKind().initBind().setSource(imagePath("etc/group"));
  EXPECT_EQ(outputOf("head -n 1 /run/resolve/resolved.conf"), "root:x:0:\n");
}

TEST_F(RootfsMountsTest, LinksInTheImageCannotLeadAMountOutside) {
  auto outside = kj::str(directory, "/outside");
  std::filesystem::create_directories(outside.cStr());
  KJ_SYSCALL(symlink(outside.cStr(), imagePath("escape").cStr()));
  addMount("/escape/data").getKind().initTmpfs().setMode(0755);
  outputOf("true");
  EXPECT_TRUE(std::filesystem::is_empty(outside.cStr()));
}

}  // namespace
}  // namespace belay::shim
