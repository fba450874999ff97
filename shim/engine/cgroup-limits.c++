// A cgroup's limits, in the terms of v1 (as the CRI has them) and translated to those of v2.
#include <errno.h>
#include <kj/debug.h>

#include "shim/engine/cgroup.h"
#include "shim/engine/text-file.h"

namespace belay::shim {
namespace {

using Hierarchy = CgroupHierarchies::Hierarchy;

// The kernel's default period of cpu.max and cpu.cfs_period_us.
constexpr uint64_t DEFAULT_CPU_PERIOD_US = 100'000;

kj::String numberOrMax(int64_t value) {
  return value < 0 ? kj::str("max") : kj::str(value);
}

// Both scales have 1024 shares and weight 100 as "one's fair part", but are not proportional to
// each other; this is the formula that the kubelet and every runtime use.
uint64_t weightOfShares(uint64_t shares) {
  shares = kj::max(2, kj::min(262144, shares));
  return 1 + (shares - 2) * 9999 / 262142;
}

// Writes control files of one cgroup, each in the hierarchy that has its controller.
class LimitWriter {
 public:
  LimitWriter(const CgroupHierarchies& hierarchies, kj::StringPtr path)
      : hierarchies(hierarchies), path(path.slice(1)) {}

  void cpu(Resources::Reader resources) {
    auto shares = resources.getCpuShares();
    auto quota = resources.getCpuQuotaUs();
    auto period = resources.getCpuPeriodUs();
    if (shares == 0 && quota == 0 && period == 0) return;
    auto& hierarchy = controller("cpu");
    if (isV1(hierarchy)) {
      if (shares > 0) write(hierarchy, "cpu.shares", kj::str(shares));
      if (period > 0) write(hierarchy, "cpu.cfs_period_us", kj::str(period));
      if (quota != 0) write(hierarchy, "cpu.cfs_quota_us", kj::str(quota));
    } else {
      if (shares > 0) write(hierarchy, "cpu.weight", kj::str(weightOfShares(shares)));
      if (quota == 0 && period == 0) return;
      if (period == 0) period = DEFAULT_CPU_PERIOD_US;
      write(hierarchy, "cpu.max", kj::str(numberOrMax(quota == 0 ? -1 : quota), " ", period));
    }
  }

  void memory(Resources::Reader resources) {
    auto limit = resources.getMemoryLimitBytes();
    auto total = resources.getMemorySwapLimitBytes();
    if (limit == 0 && total == 0) return;
    auto& hierarchy = controller("memory");
    if (isV1(hierarchy)) {
      memoryV1(hierarchy, limit, total);
    } else {
      if (limit != 0) write(hierarchy, "memory.max", numberOrMax(limit));
      if (total == 0) return;
      KJ_REQUIRE(total < 0 || (limit > 0 && total >= limit),
                 "The limit of memory and swap is below that of memory.", total, limit);
      auto swap = kj::str(path, "/memory.swap.max");
      int error =
          tryWriteTextFile(hierarchy.root, swap, numberOrMax(total < 0 ? -1 : total - limit));
      // A kernel without swap accounting has no file, and nothing to limit.
      if (error != 0 && error != ENOENT) KJ_FAIL_SYSCALL("write", error, swap, total - limit);
    }
  }

  void cpuset(kj::StringPtr cpus, kj::StringPtr mems) {
    if (cpus.size() > 0) write(controller("cpuset"), "cpuset.cpus", cpus);
    if (mems.size() > 0) write(controller("cpuset"), "cpuset.mems", mems);
  }

  void pids(int64_t limit) {
    if (limit != 0) write(controller("pids"), "pids.max", numberOrMax(limit));
  }

  void hugepages(capnp::List<Resources::HugepageLimit>::Reader limits) {
    for (auto limit : limits) {
      checkComponent(limit.getPageSize());
      // The kubelet sends a limit for every page size, mostly 0, to every machine: one whose kernel
      // cannot account for huge pages here is not told by a failing container.
      KJ_IF_MAYBE (hierarchy, hierarchies.withController("hugetlb")) {
        auto file = kj::str(path, "/hugetlb.", limit.getPageSize(),
                            isV1(*hierarchy) ? ".limit_in_bytes" : ".max");
        int error = tryWriteTextFile(hierarchy->root, file, kj::str(limit.getLimitBytes()));
        if (error != 0 && error != ENOENT) KJ_FAIL_SYSCALL("write", error, file);
      }
    }
  }

  void unified(capnp::List<Resources::Unified>::Reader keys) {
    if (keys.size() == 0) return;
    auto& hierarchy =
        KJ_REQUIRE_NONNULL(hierarchies.unified(), "This machine has no v2 cgroup hierarchy.");
    for (auto key : keys) {
      checkComponent(key.getKey());
      write(hierarchy, key.getKey(), key.getValue());
    }
  }

 private:
  const CgroupHierarchies& hierarchies;
  kj::StringPtr path;

  static bool isV1(const Hierarchy& hierarchy) {
    return hierarchy.version == Hierarchy::Version::V1;
  }

  static void checkComponent(kj::StringPtr name) {
    KJ_REQUIRE(name.size() > 0 && name.findFirst('/') == nullptr, "Not a cgroup file's name.",
               name);
  }

  const Hierarchy& controller(kj::StringPtr name) {
    return KJ_REQUIRE_NONNULL(hierarchies.withController(name),
                              "This machine has no such cgroup controller.", name);
  }

  void write(const Hierarchy& hierarchy, kj::StringPtr file, kj::StringPtr value) {
    writeTextFile(hierarchy.root, kj::str(path, "/", file), value);
  }

  // Memory may never exceed memory and swap together, in any moment: which one is written first
  // depends on whether they grow or shrink.
  void memoryV1(const Hierarchy& hierarchy, int64_t limit, int64_t total) {
    auto limitFile = kj::str(path, "/memory.limit_in_bytes");
    auto totalFile = kj::str(path, "/memory.memsw.limit_in_bytes");
    auto writeTotal = [&]() {
      if (total == 0) return;
      int error = tryWriteTextFile(hierarchy.root, totalFile, kj::str(total));
      if (error != 0 && error != ENOENT) KJ_FAIL_SYSCALL("write", error, totalFile, total);
    };
    int error = limit == 0 ? 0 : tryWriteTextFile(hierarchy.root, limitFile, kj::str(limit));
    if (error == 0) return writeTotal();
    if (error != EINVAL || total == 0) KJ_FAIL_SYSCALL("write", error, limitFile, limit);
    writeTotal();
    writeTextFile(hierarchy.root, limitFile, kj::str(limit));
  }
};

}  // namespace

void Cgroup::limit(Resources::Reader resources) {
  LimitWriter writer(hierarchies, path);
  writer.cpu(resources);
  writer.memory(resources);
  writer.cpuset(resources.getCpusetCpus(), resources.getCpusetMems());
  writer.pids(resources.getPidsLimit());
  writer.hugepages(resources.getHugepageLimits());
  writer.unified(resources.getUnified());
}

}  // namespace belay::shim
