// System tests of cgroups, on whatever layout this machine has.
#include "shim/engine/cgroup.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>

#include "shim/engine/cgroup-devices.h"
#include "shim/engine/engine-test-fixture.h"
#include "shim/engine/limit-files.h"
#include "shim/engine/text-file.h"

namespace belay::shim {
namespace {

// A pod with its cgroups, but no container yet.
class CgroupTest : public EngineTest {
 protected:
  void SetUp() override {
    EngineTest::SetUp();
    if (!IsSkipped()) makePod();
  }

  // The text of the first file that exists, where the controller is.
  kj::String fileOf(kj::StringPtr controller, kj::StringPtr v1, kj::StringPtr v2) {
    auto& hierarchy = KJ_REQUIRE_NONNULL(hierarchies.withController(controller));
    bool isV1 = hierarchy.version == CgroupHierarchies::Hierarchy::Version::V1;
    return readTextFile(hierarchy.root, kj::str(cgroup->getPath().slice(1), "/", isV1 ? v1 : v2));
  }
};

TEST_F(CgroupTest, IsMadeOnceAndFoundAgain) {
  EXPECT_TRUE(cgroup->made());
  EXPECT_FALSE(Cgroup::create(hierarchies, cgroup->getPath())->made());
  EXPECT_TRUE(cgroup->empty());
  cgroup->remove();
  cgroup->remove();
  EXPECT_TRUE(cgroup->empty());
  cgroup->kill();
  EXPECT_EQ(cgroup->oomKills(), 0);
}

TEST_F(CgroupTest, PathsThatLeaveTheRootAreRefused) {
  for (auto path : {"belay"_kj, "/"_kj, "/a/../../b"_kj, "/a//b"_kj, "/a/./b"_kj, "/a/"_kj}) {
    EXPECT_THROW(Cgroup::create(hierarchies, path), kj::Exception) << path.cStr();
  }
}

TEST_F(CgroupTest, AFailureLeavesNothing) {
  // No cgroup's name may hold a newline.
  auto path = kj::str(podSpec().getCgroupPath(), "/parent/a\nb");
  EXPECT_THROW(Cgroup::create(hierarchies, path), kj::Exception);
  for (auto& hierarchy : hierarchies.all()) {
    EXPECT_NE(
        access(kj::str(hierarchy.mountPoint, podSpec().getCgroupPath(), "/parent").cStr(), F_OK),
        0);
  }
}

TEST_F(CgroupTest, HasItsLimits) {
  auto resources = containerSpec().initResources();
  resources.setCpuShares(512);
  resources.setCpuQuotaUs(20'000);
  resources.setCpuPeriodUs(50'000);
  resources.setMemoryLimitBytes(64 << 20);
  resources.setMemorySwapLimitBytes(64 << 20);
  resources.setPidsLimit(50);
  cgroup->limit(resources);
  EXPECT_EQ(fileOf("pids", "pids.max", "pids.max"), "50\n");
  EXPECT_EQ(fileOf("memory", "memory.limit_in_bytes", "memory.max"), "67108864\n");
  auto cpu = fileOf("cpu", "cpu.cfs_quota_us", "cpu.max");
  EXPECT_TRUE(cpu == "20000\n" || cpu == "20000 50000\n") << cpu.cStr();

  // Both limits up, and down again: whichever order the kernel wants.
  resources.setMemoryLimitBytes(128 << 20);
  resources.setMemorySwapLimitBytes(256 << 20);
  cgroup->limit(resources);
  resources.setMemoryLimitBytes(32 << 20);
  resources.setMemorySwapLimitBytes(32 << 20);
  cgroup->limit(resources);
  EXPECT_EQ(fileOf("memory", "memory.limit_in_bytes", "memory.max"), "33554432\n");
}

TEST_F(CgroupTest, AChangeLeavesWhatItDoesNotSet) {
  auto resources = containerSpec().initResources();
  resources.setCpuShares(512);
  resources.setMemoryLimitBytes(64 << 20);
  resources.setMemorySwapLimitBytes(64 << 20);
  cgroup->limit(resources);

  auto change = containerSpec().initResources();
  change.setMemoryLimitBytes(128 << 20);
  change.setMemorySwapLimitBytes(128 << 20);
  cgroup->changeLimits(change, nullptr);
  EXPECT_EQ(fileOf("memory", "memory.limit_in_bytes", "memory.max"), "134217728\n");
  auto shares = fileOf("cpu", "cpu.shares", "cpu.weight");
  EXPECT_TRUE(shares == "512\n" || shares == "59\n") << shares.cStr();
  change.setMemoryLimitBytes(32 << 20);
  change.setMemorySwapLimitBytes(32 << 20);
  cgroup->changeLimits(change, nullptr);
  EXPECT_EQ(fileOf("memory", "memory.limit_in_bytes", "memory.max"), "33554432\n");
}

TEST_F(CgroupTest, AChangeThatIsRefusedInPartIsUndoneWhole) {
  auto resources = containerSpec().initResources();
  resources.setCpuShares(512);
  resources.setCpuQuotaUs(20'000);
  resources.setCpuPeriodUs(50'000);
  resources.setMemoryLimitBytes(64 << 20);
  resources.setMemorySwapLimitBytes(64 << 20);
  resources.setCpusetCpus("0");
  cgroup->limit(resources);
  auto state = [&]() {
    return kj::str(fileOf("cpu", "cpu.shares", "cpu.weight"),
                   fileOf("cpu", "cpu.cfs_quota_us", "cpu.max"),
                   fileOf("cpu", "cpu.cfs_period_us", "cpu.max"),
                   fileOf("memory", "memory.limit_in_bytes", "memory.max"),
                   fileOf("memory", "memory.memsw.limit_in_bytes", "memory.swap.max"),
                   fileOf("cpuset", "cpuset.cpus", "cpuset.cpus"));
  };
  auto before = state();

  auto change = containerSpec().initResources();
  change.setCpuShares(1024);
  change.setCpuQuotaUs(100'000);
  change.setCpuPeriodUs(200'000);
  change.setMemoryLimitBytes(256 << 20);
  change.setMemorySwapLimitBytes(512 << 20);
  change.setCpusetCpus("4000");
  try {
    cgroup->changeLimits(change, nullptr);
    FAIL() << "there are not so many CPUs";
  } catch (const kj::Exception& e) {
    EXPECT_NE(strstr(e.getDescription().cStr(), "\"4000\" for cpuset.cpus"), nullptr)
        << e.getDescription().cStr();
  }
  EXPECT_STREQ(state().cStr(), before.cStr());

  change.setCpusetCpus("0");
  cgroup->changeLimits(change, nullptr);
  EXPECT_STRNE(state().cStr(), before.cStr());
}

TEST_F(CgroupTest, AMemoryLimitBelowWhatIsInUseIsRefusedAndKillsNobody) {
  auto resources = containerSpec().initResources();
  resources.setMemoryLimitBytes(64 << 20);
  resources.setMemorySwapLimitBytes(64 << 20);
  cgroup->limit(resources);
  setScript(containerSpec().getProcess(),
            "x=$(head -c 20000000 /dev/zero | tr '\\0' x); echo up; sleep 1000; :");
  auto prepared = prepareWell();
  EXPECT_TRUE(releaseGate(context, prepared).wait(wait) == nullptr);
  EXPECT_EQ(readLine(), "up\n");

  auto change = containerSpec().initResources();
  change.setMemoryLimitBytes(4 << 20);
  change.setMemorySwapLimitBytes(4 << 20);
  EXPECT_THROW(cgroup->changeLimits(change, nullptr), kj::Exception);
  EXPECT_EQ(fileOf("memory", "memory.limit_in_bytes", "memory.max"), "67108864\n");
  EXPECT_EQ(cgroup->oomKills(), 0);
  EXPECT_FALSE(cgroup->empty());
  cgroup->kill();
  waitFor(prepared.pidfd);
}

TEST_F(CgroupTest, OomScoresOfAllProcessesChangeOrNone) {
  setScript(containerSpec().getProcess(),
            "sleep 1000 & sh -c 'echo 321 > /proc/self/oom_score_adj; echo up; exec sleep 1000'");
  auto prepared = prepareWell();
  EXPECT_TRUE(releaseGate(context, prepared).wait(wait) == nullptr);
  EXPECT_EQ(readLine(), "up\n");
  auto scores = [&]() {
    kj::Vector<kj::String> all;
    for (auto pid : cgroup->pids())
      all.add(readTextFile(AT_FDCWD, kj::str("/proc/", pid, "/oom_score_adj")));
    std::sort(all.begin(), all.end());
    return kj::strArray(all, "");
  };
  auto before = scores();
  EXPECT_NE(strstr(before.cStr(), "321\n"), nullptr) << before.cStr();
  auto nothing = containerSpec().initResources();
  EXPECT_THROW(cgroup->changeLimits(nothing, 1001), kj::Exception);
  EXPECT_STREQ(scores().cStr(), before.cStr());
  cgroup->changeLimits(nothing, 700);
  EXPECT_EQ(scores(), "700\n700\n");
  cgroup->kill();
  waitFor(prepared.pidfd);
}

TEST(LimitFiles, WhatIsPutBackIsTheDevicesOwnLine) {
  auto only = [](kj::StringPtr file, kj::StringPtr contents, kj::StringPtr value) {
    return kj::strArray(formerLines(file, contents, value), "|");
  };
  EXPECT_EQ(only("memory.max", "1024\n", "max"), "1024");
  EXPECT_EQ(only("cpuset.cpus", "\n", "0-1"), "\n");
  EXPECT_EQ(only("io.weight", "default 100\n8:0 200\n", "300"), "default 100");
  EXPECT_EQ(only("io.weight", "default 100\n8:0 200\n", "8:0 300"), "8:0 200");
  EXPECT_EQ(only("io.weight", "default 100\n", "8:0 300"), "8:0 default");
  EXPECT_EQ(only("io.max", "8:0 rbps=1 wbps=max riops=max wiops=max\n", "8:16 rbps=2"),
            "8:16 rbps=max wbps=max riops=max wiops=max");
}

TEST_F(CgroupTest, HugePageLimitsOfAPageSizeThatIsNotThereAreIgnored) {
  auto limits = containerSpec().initResources().initHugepageLimits(1);
  limits[0].setPageSize("3MB");
  cgroup->limit(containerSpec().getResources());
  limits[0].setPageSize("../../memory/x");
  EXPECT_THROW(cgroup->limit(containerSpec().getResources()), kj::Exception);
}

TEST_F(CgroupTest, ALimitThatTheKernelRefusesIsNamed) {
  auto resources = containerSpec().initResources();
  resources.setCpusetCpus("nonsense");
  try {
    cgroup->limit(resources);
    FAIL();
  } catch (const kj::Exception& e) {
    EXPECT_NE(strstr(e.getDescription().cStr(), "cpuset.cpus"), nullptr);
    EXPECT_NE(strstr(e.getDescription().cStr(), "nonsense"), nullptr);
  }
}

TEST_F(CgroupTest, KillsAndTellsWhenItIsEmpty) {
  setScript(containerSpec().getProcess(), "sleep 1000 & sleep 1000 & echo up; sleep 1000");
  auto prepared = prepareWell();
  EXPECT_TRUE(releaseGate(context, prepared).wait(wait) == nullptr);
  EXPECT_EQ(readLine(), "up\n");
  auto empty = cgroup->whenEmpty(context);
  EXPECT_FALSE(empty.poll(wait));
  EXPECT_THROW(cgroup->remove(), kj::Exception);
  cgroup->kill();
  empty.wait(wait);
  EXPECT_TRUE(cgroup->empty());
  EXPECT_EQ(waitFor(prepared.pidfd), 128 + SIGKILL);
}

TEST_F(CgroupTest, CountsOomKills) {
  auto resources = containerSpec().initResources();
  resources.setMemoryLimitBytes(8 << 20);
  resources.setMemorySwapLimitBytes(8 << 20);
  cgroup->limit(resources);
  setScript(containerSpec().getProcess(), "dd if=/dev/zero of=/dev/null bs=64M count=1");
  EXPECT_NE(run().code, 0);
  EXPECT_GE(cgroup->oomKills(), 1);
}

TEST_F(CgroupTest, RemovesWhatAContainerNested) {
  auto nested = Cgroup::create(hierarchies, kj::str(cgroup->getPath(), "/a/b"));
  Cgroup::create(hierarchies, kj::str(cgroup->getPath(), "/c"));
  cgroup->remove();
  EXPECT_TRUE(nested->empty());
  for (auto& hierarchy : hierarchies.all()) {
    EXPECT_NE(access(kj::str(hierarchy.mountPoint, cgroup->getPath()).cStr(), F_OK), 0);
  }
}

TEST_F(CgroupTest, TheDeviceProgramOfV2Decides) {
  // Also on the hybrid layout, whose twin below v2 takes such a program.
  KJ_IF_MAYBE (unified, hierarchies.unified()) {
    int fd;
    KJ_SYSCALL(fd = openat(unified->root, cgroup->getPath().slice(1).cStr(),
                           O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    kj::AutoCloseFd directory(fd);
    containerSpec().setAllDevices(true);
    auto devices = containerSpec().getDevices();
    auto rules = deviceRules(devices);
    // /dev/zero may be read, not written.
    kj::Vector<DeviceRule> fewer;
    for (auto& rule : rules) {
      if (rule.major != 1 || rule.minor != 5) fewer.add(rule);
    }
    fewer.add(DeviceRule{'c', 1, 5, true, false, false});
    attachDeviceProgram(directory, fewer);
  } else {
    GTEST_SKIP() << "This machine has no v2 hierarchy.";
  }
  setScript(containerSpec().getProcess(),
            "busybox mknod /tmp/mem c 1 1; head -c 1 /tmp/mem 2>/dev/null || echo no memory;"
            "head -c 3 /dev/zero | wc -c; echo x 2>/dev/null >/dev/zero || echo not written;"
            "echo x >/dev/full 2>/dev/null || echo full; echo x >/dev/null && echo null");
  EXPECT_EQ(run().output, "no memory\n3\nnot written\nfull\nnull\n");
}

// What must hold on every layout. A hybrid machine has the other two in it.
class CgroupLayoutTest : public EngineTest {
 protected:
  using EngineTest::EngineTest;

  void killsAndRemovesContainerAndExec() {
    setScript(containerSpec().getProcess(), "echo up; sleep 1000 & sleep 1000");
    auto prepared = prepareWell();
    EXPECT_TRUE(releaseGate(context, prepared).wait(wait) == nullptr);
    EXPECT_EQ(readLine(), "up\n");
    auto output = kj::mv(outputReader);

    auto own = cgroup->createChild("exec");
    auto entered = enter(execSpec("echo in; sleep 1000 & sleep 1000"), prepared.pidfd, *own);
    ASSERT_TRUE(entered.is<Entered>()) << entered.get<FailureValue>().message.cStr();
    EXPECT_EQ(readLine(), "in\n");
    EXPECT_FALSE(own->empty());
    own->kill();
    own->whenEmpty(context).wait(wait);
    EXPECT_EQ(waitFor(entered.get<Entered>().pidfd), 128 + SIGKILL);
    own->remove();

    EXPECT_FALSE(cgroup->empty());
    cgroup->kill();
    cgroup->whenEmpty(context).wait(wait);
    EXPECT_EQ(waitFor(prepared.pidfd), 128 + SIGKILL);
    EXPECT_TRUE(cgroup->empty());
  }
};

class CgroupV1Test : public CgroupLayoutTest {
 protected:
  CgroupV1Test() : CgroupLayoutTest(Layout::V1_ALONE) {}
};

class CgroupV2Test : public CgroupLayoutTest {
 protected:
  CgroupV2Test() : CgroupLayoutTest(Layout::V2_ALONE) {}
};

TEST_F(CgroupV1Test, KillsAndRemovesContainerAndExec) {
  killsAndRemovesContainerAndExec();
}

TEST_F(CgroupV2Test, KillsAndRemovesContainerAndExec) {
  killsAndRemovesContainerAndExec();
}

TEST_F(CgroupV2Test, TheContainerSeesItsCgroupItself) {
  setScript(containerSpec().getProcess(),
            "head -n 1 /sys/fs/cgroup/cgroup.procs; touch /sys/fs/cgroup/x 2>/dev/null || echo ro");
  EXPECT_EQ(run().output, "1\nro\n");
}

TEST_F(CgroupV2Test, DevicesAreLimitedByAProgram) {
  setScript(containerSpec().getProcess(),
            "busybox mknod /tmp/mem c 1 1; head -c 1 /tmp/mem 2>/dev/null || echo no memory;"
            "echo x >/dev/null && echo null");
  EXPECT_EQ(run().output, "no memory\nnull\n");
}

TEST(DeviceRulesTest, AreWrittenAsV1WantsThem) {
  EXPECT_EQ(formatDeviceRule({'c', 1, 3, true, true, true}), "c 1:3 rwm");
  EXPECT_EQ(formatDeviceRule({'b', DeviceRule::ANY, DeviceRule::ANY, false, false, true}),
            "b *:* m");
}

TEST(DeviceRulesTest, LookUpTheHostsDevice) {
  capnp::MallocMessageBuilder message;
  auto spec = message.initRoot<ContainerSpec>();
  auto device = spec.initDevices(1)[0];
  device.setHostPath("/dev/null");
  device.setAccess("r");
  auto rules = deviceRules(spec.asReader().getDevices());
  EXPECT_EQ(formatDeviceRule(rules.back()), "c 1:3 r");
  device.setHostPath("/etc/passwd");
  EXPECT_THROW(deviceRules(spec.asReader().getDevices()), kj::Exception);
}

}  // namespace
}  // namespace belay::shim
