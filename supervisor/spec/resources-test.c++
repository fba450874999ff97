// A container's limits.
#include "supervisor/spec/resources.h"

#include <capnp/message.h>

#include "supervisor/spec/expect-failure.h"

namespace belay::supervisor {
namespace {

using snapshot::Code;

class ResourcesTest : public ::testing::Test {
 protected:
  ~ResourcesTest() noexcept override = default;

  capnp::MallocMessageBuilder fromMessage, toMessage, podMessage;
  LinuxResources::Builder from = fromMessage.initRoot<LinuxResources>();
  PodConfig::Builder pod = podMessage.initRoot<PodConfig>();

  shim::Resources::Reader fill() {
    auto to = toMessage.initRoot<shim::Resources>();
    fillResources(to, from);
    return to;
  }
};

TEST_F(ResourcesTest, NothingSetIsNothingSet) {
  auto to = fill();
  EXPECT_EQ(to.getCpuShares(), 0u);
  EXPECT_EQ(to.getMemoryLimitBytes(), 0);
  EXPECT_EQ(to.getMemorySwapLimitBytes(), 0);
}

TEST_F(ResourcesTest, MemoryLimitForbidsSwapUnlessItIsGiven) {
  from.setMemoryLimitBytes(100);
  EXPECT_EQ(fill().getMemorySwapLimitBytes(), 100);
  from.setMemorySwapLimitBytes(150);
  EXPECT_EQ(fill().getMemorySwapLimitBytes(), 150);
  from.setMemorySwapLimitBytes(-1);
  EXPECT_EQ(fill().getMemorySwapLimitBytes(), -1);
  from.setMemorySwapLimitBytes(50);
  expectFailure(Code::INVALID_ARGUMENT, "below the memory limit", [&] { fill(); });
}

TEST_F(ResourcesTest, ValuesAreCheckedWithTheirField) {
  from.setCpuQuotaUs(-1);
  EXPECT_EQ(fill().getCpuQuotaUs(), -1);
  from.setCpuQuotaUs(-2);
  expectFailure(Code::INVALID_ARGUMENT, "linux.resources.cpu_quota: -2", [&] { fill(); });
  from.setCpuQuotaUs(0);
  from.setCpusetCpus("0-3,7");
  EXPECT_EQ(fill().getCpusetCpus(), "0-3,7");
  from.setCpusetCpus("0\n1");
  expectFailure(Code::INVALID_ARGUMENT, "linux.resources.cpuset_cpus", [&] { fill(); });
}

TEST_F(ResourcesTest, AChangeSetsWhatItNamesAndKeepsTheRest) {
  from.setCpuShares(2);
  from.setCpuQuotaUs(10);
  from.setCpuPeriodUs(20);
  from.setMemoryLimitBytes(100);
  from.setCpusetCpus("0");
  from.setOomScoreAdj(5);
  auto keys = from.initUnified(2);
  keys[0].setKey("memory.high");
  keys[0].setValue("1");
  keys[1].setKey("memory.low");
  keys[1].setValue("2");
  from.initHugepageLimits(1)[0].setPageSize("2MB");

  auto change = Owned<LinuxResources>::make([](LinuxResources::Builder to) {
    to.setCpuQuotaUs(30);
    to.setMemoryLimitBytes(200);
    auto key = to.initUnified(1)[0];
    key.setKey("memory.high");
    key.setValue("3");
    auto pages = to.initHugepageLimits(1)[0];
    pages.setPageSize("2MB");
    pages.setLimitBytes(7);
  });
  auto merged = mergeResources(from, change.get());
  EXPECT_EQ(merged.get().getCpuShares(), 2);
  EXPECT_EQ(merged.get().getCpuQuotaUs(), 30);
  EXPECT_EQ(merged.get().getMemoryLimitBytes(), 200);
  EXPECT_EQ(merged.get().getMemorySwapLimitBytes(), 0);
  EXPECT_EQ(merged.get().getOomScoreAdj(), 5);
  ASSERT_EQ(merged.get().getUnified().size(), 2u);
  EXPECT_EQ(merged.get().getUnified()[0].getKey(), "memory.low");
  EXPECT_EQ(merged.get().getUnified()[1].getValue(), "3");
  ASSERT_EQ(merged.get().getHugepageLimits().size(), 1u);
  EXPECT_EQ(merged.get().getHugepageLimits()[0].getLimitBytes(), 7u);

  // Written is what the change names, and what the kernel wants together with it.
  fillResources(toMessage.initRoot<shim::Resources>(), merged.get());
  capnp::MallocMessageBuilder changeMessage;
  auto written = changeMessage.initRoot<shim::Resources>();
  fillChange(written, toMessage.getRoot<shim::Resources>(), change.get());
  EXPECT_EQ(written.getCpuShares(), 0u);
  EXPECT_EQ(written.getCpuQuotaUs(), 30);
  EXPECT_EQ(written.getCpuPeriodUs(), 20u);
  EXPECT_EQ(written.getMemoryLimitBytes(), 200);
  EXPECT_EQ(written.getMemorySwapLimitBytes(), 200);
  EXPECT_EQ(written.getCpusetCpus().size(), 0u);
  EXPECT_EQ(written.getUnified().size(), 1u);
}

TEST_F(ResourcesTest, UnifiedKeysAreLimitsAndNothingElse) {
  auto pair = from.initUnified(1)[0];
  pair.setValue("max");
  pair.setKey("memory.high");
  EXPECT_EQ(fill().getUnified()[0].getKey(), "memory.high");
  for (auto wrong :
       {"../memory.high", "memory/high", "cgroup.procs", "cgroup.kill", ".memory", "memory"}) {
    pair.setKey(wrong);
    expectFailure(Code::INVALID_ARGUMENT, "linux.resources.unified", [&] { fill(); });
  }
}

TEST_F(ResourcesTest, HugepageSizesAreNames) {
  auto limit = from.initHugepageLimits(1)[0];
  limit.setPageSize("2MB");
  limit.setLimitBytes(1 << 21);
  EXPECT_EQ(fill().getHugepageLimits()[0].getLimitBytes(), 1u << 21);
  limit.setPageSize("2MB/../x");
  expectFailure(Code::INVALID_ARGUMENT, "hugepage_limits", [&] { fill(); });
}

TEST_F(ResourcesTest, OomScoreIsBoundedAndRaisedToTheFloor) {
  from.setOomScoreAdj(-998);
  EXPECT_EQ(oomScoreAdj(from, nullptr), -998);
  EXPECT_EQ(oomScoreAdj(from, -500), -500);
  EXPECT_EQ(oomScoreAdj(from, -999), -998);
  from.setOomScoreAdj(1001);
  expectFailure(Code::INVALID_ARGUMENT, "oom_score_adj: 1001", [&] { oomScoreAdj(from, nullptr); });
}

}  // namespace
}  // namespace belay::supervisor
