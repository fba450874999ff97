// System tests of what is read of cgroups and network namespaces, on whatever layout this machine
// has.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "shim/engine/cgroup-usage.h"
#include "shim/engine/engine-test-fixture.h"
#include "shim/engine/network-usage.h"

namespace belay::shim {
namespace {

int64_t nowNs() {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * 1'000'000'000ll + now.tv_nsec;
}

class UsageTest : public EngineTest {
 protected:
  void SetUp() override {
    EngineTest::SetUp();
    if (!IsSkipped()) makePod();
  }
};

TEST_F(UsageTest, ARunningContainersUseIsRead) {
  auto resources = containerSpec().initResources();
  resources.setMemoryLimitBytes(64 << 20);
  resources.setMemorySwapLimitBytes(96 << 20);
  cgroup->limit(resources);
  setScript(containerSpec().getProcess(),
            "x=$(head -c 8000000 /dev/zero | tr '\\0' x); echo up; sleep 1000; :");
  auto began = nowNs();
  auto prepared = prepareWell();
  EXPECT_TRUE(releaseGate(context, prepared).wait(wait) == nullptr);
  EXPECT_EQ(readLine(), "up\n");

  CgroupUsageReader reader(hierarchies, cgroup->getPath(), began);
  capnp::MallocMessageBuilder message;
  auto usage = message.initRoot<CgroupUsage>();
  reader.read(usage);
  EXPECT_GE(usage.getTimeNs(), began);
  EXPECT_LE(usage.getTimeNs(), nowNs());
  EXPECT_GT(usage.getCpuNs(), 1'000'000u);
  EXPECT_LT(usage.getCpuNs(), uint64_t(100 * (nowNs() - began)));
  EXPECT_GT(usage.getCpuNsPerSecond(), 0u);
  EXPECT_NE(usage.getCpuNsPerSecond(), UNKNOWN);
  EXPECT_GT(usage.getAnonymousBytes(), 8'000'000u);
  EXPECT_LE(usage.getAnonymousBytes(), usage.getWorkingSetBytes());
  EXPECT_LE(usage.getWorkingSetBytes(), usage.getMemoryBytes());
  EXPECT_LE(usage.getMemoryBytes(), uint64_t(64 << 20));
  EXPECT_EQ(usage.getMemoryLimitBytes(), uint64_t(64 << 20));
  EXPECT_GT(usage.getPageFaults(), 1000u);
  EXPECT_NE(usage.getMajorPageFaults(), UNKNOWN);
  EXPECT_TRUE(usage.getSwapLimitBytes() == 32 << 20 || usage.getSwapLimitBytes() == UNKNOWN);
  EXPECT_GE(usage.getTasks(), 1u);
  EXPECT_LE(usage.getTasks(), 4u);
  EXPECT_EQ(usage.hasCpuPressure(), access("/proc/pressure/cpu", F_OK) == 0);

  auto cpuBefore = usage.getCpuNs();
  auto timeBefore = usage.getTimeNs();
  auto again = message.initRoot<CgroupUsage>();
  reader.read(again);
  EXPECT_GE(again.getCpuNs(), cpuBefore);
  EXPECT_GE(again.getTimeNs(), timeBefore);
  cgroup->kill();
  waitFor(prepared.pidfd);
}

TEST_F(UsageTest, ACgroupThatIsGoneIsUnknown) {
  CgroupUsageReader reader(hierarchies, kj::str(cgroup->getPath(), "-not"), nowNs());
  capnp::MallocMessageBuilder message;
  auto usage = message.initRoot<CgroupUsage>();
  reader.read(usage);
  EXPECT_GT(usage.getTimeNs(), 0);
  EXPECT_EQ(usage.getCpuNs(), UNKNOWN);
  EXPECT_EQ(usage.getMemoryBytes(), UNKNOWN);
  EXPECT_EQ(usage.getTasks(), UNKNOWN);
  EXPECT_FALSE(usage.hasCpuPressure());
}

TEST_F(UsageTest, APodsInterfacesAreReadFromOutside) {
  EXPECT_EQ(NetworkUsageReader(namespaces.net).read().size(), 0u);  // loopback alone
  // An interface of the container's own making, with a name that is no text.
  pid_t child = fork();
  if (child == 0) {
    if (setns(namespaces.net, CLONE_NEWNET) != 0) _exit(1);
    execlp("ip", "ip", "link", "add",
           "b\xff"
           "d",
           "type", "bridge", nullptr);
    _exit(2);
  }
  int status;
  waitpid(child, &status, 0);
  ASSERT_EQ(status, 0);
  NetworkUsageReader reader(namespaces.net);
  for (int round = 0; round < 2; ++round) {
    auto interfaces = reader.read();
    ASSERT_EQ(interfaces.size(), 1u);
    EXPECT_STREQ(kj::heapString(interfaces[0].name.asChars()).cStr(),
                 "b\xff"
                 "d");
    EXPECT_EQ(interfaces[0].rxBytes, 0u);
  }
}

TEST(Pressure, ItsLinesAreRead) {
  capnp::MallocMessageBuilder message;
  auto pressure = message.initRoot<Pressure>();
  EXPECT_FALSE(parsePressure("", pressure));
  EXPECT_FALSE(parsePressure("nonsense", pressure));
  EXPECT_TRUE(
      parsePressure("some avg10=1.50 avg60=0.25 avg300=100.00 total=12345\n"
                    "full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n",
                    pressure));
  EXPECT_EQ(pressure.getSome().getAverage10(), 1.5);
  EXPECT_EQ(pressure.getSome().getAverage300(), 100);
  EXPECT_EQ(pressure.getSome().getTotalUs(), 12345u);
  EXPECT_EQ(pressure.getFull().getTotalUs(), 7u);
}

}  // namespace
}  // namespace belay::shim
