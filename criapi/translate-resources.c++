// Resource limits of pods and containers.
#include "criapi/translate-resources.h"

#include "criapi/text.h"

namespace belay::criapi {
namespace {

void requireNatural(int64_t value, const Field& field) {
  if (value < 0) field.refuse(value, " is negative");
}

}  // namespace

void fillResources(supervisor::LinuxResources::Builder builder,
                   const runtime::v1::LinuxContainerResources& resources, const Field& field) {
  // Quota and the memory limits may be -1: unlimited.
  requireNatural(resources.cpu_period(), field["cpu_period"]);
  requireNatural(resources.cpu_shares(), field["cpu_shares"]);
  if (resources.oom_score_adj() < -1000 || resources.oom_score_adj() > 1000) {
    field["oom_score_adj"].refuse(resources.oom_score_adj(), " is not between -1000 and 1000");
  }
  builder.setCpuPeriodUs(resources.cpu_period());
  builder.setCpuQuotaUs(resources.cpu_quota());
  builder.setCpuShares(resources.cpu_shares());
  builder.setMemoryLimitBytes(resources.memory_limit_in_bytes());
  builder.setMemorySwapLimitBytes(resources.memory_swap_limit_in_bytes());
  builder.setOomScoreAdj(resources.oom_score_adj());
  builder.setCpusetCpus(requestText(resources.cpuset_cpus(), field["cpuset_cpus"]));
  builder.setCpusetMems(requestText(resources.cpuset_mems(), field["cpuset_mems"]));

  auto hugepages = builder.initHugepageLimits(resources.hugepage_limits_size());
  const Field hugepagesField = field["hugepage_limits"];
  for (int i = 0; i < resources.hugepage_limits_size(); ++i) {
    auto& limit = resources.hugepage_limits(i);
    hugepages[i].setPageSize(requiredText(limit.page_size(), hugepagesField.at(i)["page_size"]));
    hugepages[i].setLimitBytes(limit.limit());
  }
  fillPairs(builder.initUnified(resources.unified().size()), resources.unified(), field["unified"]);
}

supervisor::Owned<supervisor::LinuxResources> resourcesOf(
    const runtime::v1::LinuxContainerResources& resources, const Field& field) {
  return supervisor::Owned<supervisor::LinuxResources>::make(
      [&](supervisor::LinuxResources::Builder builder) {
        fillResources(builder, resources, field);
      });
}

void readResources(supervisor::LinuxResources::Reader reader,
                   runtime::v1::LinuxContainerResources& resources) {
  resources.set_cpu_period(reader.getCpuPeriodUs());
  resources.set_cpu_quota(reader.getCpuQuotaUs());
  resources.set_cpu_shares(reader.getCpuShares());
  resources.set_memory_limit_in_bytes(reader.getMemoryLimitBytes());
  resources.set_memory_swap_limit_in_bytes(reader.getMemorySwapLimitBytes());
  resources.set_oom_score_adj(reader.getOomScoreAdj());
  resources.set_cpuset_cpus(replyText(reader.getCpusetCpus()));
  resources.set_cpuset_mems(replyText(reader.getCpusetMems()));
  for (auto limit : reader.getHugepageLimits()) {
    auto& item = *resources.add_hugepage_limits();
    item.set_page_size(replyText(limit.getPageSize()));
    item.set_limit(limit.getLimitBytes());
  }
  readPairs(reader.getUnified(), *resources.mutable_unified());
}

}  // namespace belay::criapi
