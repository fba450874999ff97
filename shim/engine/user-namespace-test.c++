// System tests of containers in a user namespace of the pod's.
#include "shim/engine/user-namespace.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "shim/engine/engine-test-fixture.h"
#include "shim/engine/text-file.h"

namespace belay::shim {
namespace {

constexpr uint32_t FIRST = 1000000;
constexpr uint32_t COUNT = 65536;
constexpr uint64_t SYS_ADMIN = 1 << 21;

class UserNamespaceTest : public EngineTest {
 protected:
  ~UserNamespaceTest() noexcept override {}

  void SetUp() override {
    EngineTest::SetUp();
    if (IsSkipped()) return;
    setIds(FIRST, COUNT);
  }

  void setIds(uint32_t first, uint32_t count) {
    auto ids = podSpec().initIds();
    ids.setFirstHostId(first);
    ids.setCount(count);
  }

  // A container that sleeps until the test ends.
  Prepared& start() {
    setCommand(containerSpec().getProcess(), {"sleep"_kj, "1000"_kj});
    running = prepareWell();
    EXPECT_TRUE(releaseGate(context, running).wait(wait) == nullptr);
    input = takeInput();
    return running;
  }

  FailureValue failureToPrepare() {
    auto prepared = prepare();
    KJ_REQUIRE(prepared.is<FailureValue>(), "The container was made.");
    return kj::mv(prepared.get<FailureValue>());
  }

  kj::String execOutput(kj::StringPtr script) {
    auto result = exec(execSpec(script), running);
    EXPECT_EQ(result.code, 0) << result.output.cStr();
    return kj::mv(result.output);
  }

  kj::String makeVolume(uid_t owner) {
    auto path = kj::str(directory, "/volume");
    std::filesystem::create_directories(path.cStr());
    KJ_SYSCALL(chown(path.cStr(), owner, owner));
    return path;
  }

  static uid_t ownerOf(kj::StringPtr path) {
    struct stat info;
    KJ_SYSCALL(stat(path.cStr(), &info), path);
    return info.st_uid;
  }

  void giveCapability(uint64_t capability) {
    auto capabilities = containerSpec().getProcess().getCapabilities();
    uint64_t wanted = capabilities.getEffective() | capability;
    capabilities.setBounding(wanted);
    capabilities.setEffective(wanted);
    capabilities.setPermitted(wanted);
  }

  void TearDown() override {
    running = Prepared();
    input = nullptr;
    EngineTest::TearDown();
  }

  Prepared running;
  kj::AutoCloseFd input;
};

TEST_F(UserNamespaceTest, ItsIdsAreMapped) {
  EXPECT_EQ(outputOf("cat /proc/self/uid_map /proc/self/gid_map; id -u; id -g"),
            "         0    1000000      65536\n         0    1000000      65536\n0\n0\n");
}

TEST_F(UserNamespaceTest, ItIsFoundAgainByItsPin) {
  makePod();
  auto again = openPodNamespaces(context, podSpec());
  struct stat one, other;
  KJ_SYSCALL(fstat(again.user, &one));
  KJ_SYSCALL(fstat(namespaces.user, &other));
  EXPECT_EQ(one.st_ino, other.st_ino);
  EXPECT_EQ(again.ids.toHost(7), FIRST + 7);
}

TEST_F(UserNamespaceTest, TheImageBelongsToItsRoot) {
  EXPECT_EQ(outputOf("stat -c %u:%g / /bin/busybox /dev /dev/null /dev/shm /dev/fd"),
            "0:0\n0:0\n0:0\n0:0\n0:0\n0:0\n");
}

TEST_F(UserNamespaceTest, WhatItWritesIsOnDiskAsInAnImage) {
  outputOf("echo x > /written; chown 7:8 /written; touch /bin/busybox");
  auto path = kj::str(directory, "/upper/written");
  EXPECT_EQ(ownerOf(path), 7u);
  EXPECT_EQ(ownerOf(kj::str(directory, "/upper/bin/busybox")), 0u);
}

TEST_F(UserNamespaceTest, AVolumeOfTheHostsSeesTheHostsIds) {
  auto source = makeVolume(FIRST);
  addMount("/data").getKind().initBind().setSource(source);
  outputOf("touch /data/mine; chown 7 /data/mine");
  EXPECT_EQ(ownerOf(kj::str(source, "/mine")), FIRST + 7);
}

TEST_F(UserNamespaceTest, AVolumeMayBeMapped) {
  auto source = makeVolume(0);
  auto mount = addMount("/data");
  mount.getKind().initBind().setSource(source);
  mount.setIdMapped(true);
  EXPECT_EQ(outputOf("stat -c %u /data; touch /data/mine; chown 7 /data/mine"), "0\n");
  EXPECT_EQ(ownerOf(kj::str(source, "/mine")), 7u);
}

TEST_F(UserNamespaceTest, WhatBelongsToTheHostIsNobodys) {
  auto source = makeVolume(0);
  KJ_SYSCALL(chmod(source.cStr(), 0700));
  addMount("/data").getKind().initBind().setSource(source);
  EXPECT_EQ(outputOf("stat -c %u /data; ls /data 2>/dev/null || echo refused"), "65534\nrefused\n");
}

TEST_F(UserNamespaceTest, AVolumeThatCannotBeMappedIsNamed) {
  auto mount = addMount("/data");
  mount.getKind().initBind().setSource("/proc");
  mount.setIdMapped(true);
  auto failure = failureToPrepare();
  EXPECT_EQ(
      failure.message,
      "Cannot map the ids of the mount /data: Invalid argument (the file system of its source "
      "cannot do that).");
}

TEST_F(UserNamespaceTest, KernelsFileSystemsShowThePod) {
  EXPECT_EQ(outputOf("ls /sys/class/net; ls /proc | grep -c '^[0-9]'; cat /proc/1/comm;"
                     "stat -c %u /dev/mqueue; touch /dev/mqueue/q && stat -c %u /dev/mqueue/q;"
                     "grep -c /proc/1/root /proc/mounts; hostname"),
            "lo\n3\nsh\n0\n0\n0\nweb-0\n");
}

TEST_F(UserNamespaceTest, SysctlsAreThePodsToo) {
  auto sysctls = podSpec().initSysctls(2);
  sysctls[0].setName("net.ipv4.ip_unprivileged_port_start");
  sysctls[0].setValue("80");
  sysctls[1].setName("kernel.shm_rmid_forced");
  sysctls[1].setValue("1");
  EXPECT_EQ(outputOf("cat /proc/sys/net/ipv4/ip_unprivileged_port_start "
                     "/proc/sys/kernel/shm_rmid_forced"),
            "80\n1\n");
}

TEST_F(UserNamespaceTest, TheHostsNetworkGoesWithIt) {
  podSpec().setNetwork(NamespaceMode::NODE);
  podSpec().setNetnsPath("");
  podSpec().setHostname("");
  char own[256];
  ssize_t length = readlink("/proc/self/ns/net", own, sizeof(own));
  auto expected = kj::heapString(own, length);
  EXPECT_EQ(outputOf("readlink /proc/self/ns/net; ls -d /sys/class/net"),
            kj::str(expected, "\n/sys/class/net\n"));
}

TEST_F(UserNamespaceTest, ARootWithTheRightToMountMountsForItselfAlone) {
  giveCapability(SYS_ADMIN);
  auto source = makeVolume(FIRST);
  auto volume = addMount("/data");
  volume.setReadonly(true);
  volume.getKind().initBind().setSource(source);
  EXPECT_EQ(outputOf("mount -t tmpfs none /tmp && touch /tmp/mine && echo mounted;"
                     "mount -o remount,bind,rw /data 2>/dev/null || echo still read-only;"
                     "umount /data 2>/dev/null || echo still there"),
            "mounted\nstill read-only\nstill there\n");
}

TEST_F(UserNamespaceTest, ARootWithEveryCapabilityHasThemInThereOnly) {
  giveCapability(~uint64_t(0));
  containerSpec().initReadonlyPaths(0);
  auto source = makeVolume(FIRST);
  addMount("/data").getKind().initBind().setSource(source);
  EXPECT_EQ(outputOf("(echo 1 > /proc/sys/vm/drop_caches) 2>/dev/null || echo no sysctl;"
                     "busybox mknod /data/disk b 8 0 2>/dev/null || echo no device;"
                     "hostname changed && hostname"),
            "no sysctl\nno device\nchanged\n");
}

TEST_F(UserNamespaceTest, DevicesOfTheHostsStayTheHosts) {
  auto devices = containerSpec().getDevices();
  devices[0].setHostsOwner(true);
  devices[0].setFileMode(0600);
  EXPECT_EQ(outputOf("stat -c '%u %a' /dev/null; (echo > /dev/null) 2>&1 | grep -c denied"),
            "65534 600\n1\n");
}

TEST_F(UserNamespaceTest, UsersOfTheImageAreMappedAlike) {
  auto process = containerSpec().getProcess();
  process.getUser().setName("web");
  EXPECT_EQ(outputOf("id -u; id -g; id -G; echo to stdout > /dev/stdout"),
            "1000\n1001\n1001 1002\nto stdout\n");
}

TEST_F(UserNamespaceTest, AUserItHasNotGotIsRefused) {
  containerSpec().getProcess().getUser().setUid(COUNT);
  auto failure = failureToPrepare();
  EXPECT_EQ(failure.code, Failure::Code::INVALID_ARGUMENT);
  EXPECT_EQ(failure.message,
            "Cannot find the user 65536: the pod's user namespace has no such uid, or one of its "
            "gids.");
}

TEST_F(UserNamespaceTest, AnExecIsInItAsWell) {
  start();
  EXPECT_EQ(execOutput("readlink /proc/self/ns/user > /mine; readlink /proc/1/ns/user > /first;"
                       "busybox cmp /mine /first && id -u && grep CapEff /proc/self/status"),
            "0\nCapEff:\t00000000a80425fb\n");
  EXPECT_EQ(ownerOf(kj::str("/proc/", running.pid, "/root/mine")), FIRST);
}

TEST_F(UserNamespaceTest, AnExecAsAnotherUserMayReopenItsStreams) {
  start();
  auto process = execSpec("id -u; echo again > /proc/self/fd/1");
  process.getUser().setUid(1000);
  EXPECT_EQ(exec(process, running).output, "1000\nagain\n");
}

TEST_F(UserNamespaceTest, ATerminalIsItsUsers) {
  containerSpec().getProcess().setTerminal(true);
  containerSpec().getProcess().getUser().setUid(1000);
  setScript(containerSpec().getProcess(), "stat -c %u:%g $(tty); echo done > $(tty)");
  auto prepared = prepareContainer(context, (makePod(), containerSpec()), namespaces, *cgroup,
                                   {.terminal = true})
                      .wait(wait);
  running = kj::mv(prepared.get<Prepared>());
  EXPECT_TRUE(releaseGate(context, running).wait(wait) == nullptr);
  int flags = fcntl(running.ptyMaster, F_GETFL);
  fcntl(running.ptyMaster, F_SETFL, flags & ~O_NONBLOCK);
  EXPECT_EQ(readTerminal(running.ptyMaster, "done\r\n"), "1000:5\r\ndone\r\n");
  waitFor(running.pidfd);
}

TEST_F(UserNamespaceTest, ATerminalOfAnExecIsItsUsers) {
  start();
  auto own = cgroup->createChild("exec");
  auto process = execSpec("stat -c %u:%g $(tty); echo done > $(tty)");
  process.setTerminal(true);
  process.getUser().setUid(1000);
  auto result =
      enterContainer(context, process, {running.pidfd, namespaces.ids}, *own, {.terminal = true})
          .wait(wait);
  ASSERT_TRUE(result.is<Entered>()) << result.get<FailureValue>().message.cStr();
  auto& entered = result.get<Entered>();
  EXPECT_EQ(waitFor(entered.pidfd), 0);
  EXPECT_EQ(readTerminal(entered.ptyMaster), "1000:5\r\ndone\r\n");
}

TEST_F(UserNamespaceTest, ASharedPidNamespaceIsThePods) {
  podSpec().setPid(NamespaceMode::POD);
  containerSpec().setPid(NamespaceMode::POD);
  EXPECT_EQ(outputOf("busybox head -n 1 /proc/1/status; readlink /proc/1/root || echo hidden;"
                     "grep Uid /proc/1/status"),
            "Name:\tmemfd:pod-init\nhidden\nUid:\t65534\t65534\t65534\t65534\n");
}

TEST_F(UserNamespaceTest, ASmallOneHasASharedPidNamespaceToo) {
  setIds(FIRST, 10);
  writeImageFile("etc/group", "");
  podSpec().setPid(NamespaceMode::POD);
  containerSpec().setPid(NamespaceMode::POD);
  EXPECT_EQ(outputOf("grep Uid /proc/1/status"), "Uid:\t9\t9\t9\t9\n");
}

TEST_F(UserNamespaceTest, ItsCgroupIsTheRootOfWhatItSees) {
  EXPECT_EQ(outputOf("busybox cut -d: -f3 /proc/self/cgroup | busybox sort -u;"
                     "ls -d /sys/fs/cgroup; touch /sys/fs/cgroup/x 2>/dev/null || echo protected"),
            "/\n/sys/fs/cgroup\nprotected\n");
}

TEST_F(UserNamespaceTest, NothingOfTheHostIsMounted) {
  auto mounts = outputOf("cat /proc/self/mountinfo");
  EXPECT_EQ(strstr(mounts.cStr(), directory.cStr()), nullptr) << mounts.cStr();
}

TEST_F(UserNamespaceTest, IdsThatCannotBeMappedAreRefused) {
  setIds(~0u - 1, 10);
  auto result = makePodNamespaces(context, podSpec()).wait(wait);
  ASSERT_TRUE(result.is<FailureValue>());
  EXPECT_EQ(result.get<FailureValue>().message,
            "Cannot map the ids of the pod's user namespace: Invalid argument.");
  EXPECT_TRUE(std::filesystem::is_empty(kj::str(directory, "/pod").cStr()));
}

}  // namespace
}  // namespace belay::shim
