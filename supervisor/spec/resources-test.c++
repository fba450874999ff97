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
