// A cgroup's limits, in the terms of v1 (as the CRI has them) and translated to those of v2.
#include <errno.h>
#include <kj/debug.h>
#include <math.h>

#include "shim/engine/cgroup.h"
#include "shim/engine/limit-files.h"
#include "shim/engine/oom-scores.h"

namespace belay::shim {
namespace {

using Hierarchy = CgroupHierarchies::Hierarchy;

// The kernel's default period of cpu.max and cpu.cfs_period_us.
constexpr uint64_t DEFAULT_CPU_PERIOD_US = 100'000;

kj::String numberOrMax(int64_t value) {
  return value < 0 ? kj::str("max") : kj::str(value);
}

// v1's scale is 2 to 262144 with 1024 for a process's fair part, v2's 1 to 10000 with 100: this is
// the curve through the three pairs, in the logarithms of both, that runc and crun have used since
// 2025 (the straight line before it gave 39 for 1024).
uint64_t weightOfShares(uint64_t shares) {
  shares = kj::max(2, kj::min(262144, shares));
  double l = log2(shares);
  return ceil(pow(10, (l * l + 125 * l) / 612 - 7.0 / 34));
}

// Writes control files of one cgroup, each in the hierarchy that has its controller.
class LimitWriter {
 public:
  LimitWriter(const CgroupHierarchies& hierarchies, LimitFiles& files)
      : hierarchies(hierarchies), files(files) {}

  void all(Resources::Reader resources) {
    cpu(resources);
    memory(resources);
    cpuset(resources.getCpusetCpus(), resources.getCpusetMems());
    pids(resources.getPidsLimit());
    hugepages(resources.getHugepageLimits());
    unified(resources.getUnified());
  }

 private:
  const CgroupHierarchies& hierarchies;
  LimitFiles& files;

  void cpu(Resources::Reader resources) {
    auto shares = resources.getCpuShares();
    auto quota = resources.getCpuQuotaUs();
    auto period = resources.getCpuPeriodUs();
    if (shares == 0 && quota == 0 && period == 0) return;
    auto& hierarchy = controller("cpu");
    if (isV1(hierarchy)) {
      if (shares > 0) files.write(hierarchy, "cpu.shares", kj::str(shares));
      inEitherOrder(hierarchy, "cpu.cfs_period_us", period == 0 ? kj::String() : kj::str(period),
                    "cpu.cfs_quota_us", quota == 0 ? kj::String() : kj::str(quota));
    } else {
      if (shares > 0) files.write(hierarchy, "cpu.weight", kj::str(weightOfShares(shares)));
      if (quota == 0 && period == 0) return;
      if (period == 0) period = DEFAULT_CPU_PERIOD_US;
      files.write(hierarchy, "cpu.max", kj::str(numberOrMax(quota == 0 ? -1 : quota), " ", period));
    }
  }

  void memory(Resources::Reader resources) {
    auto limit = resources.getMemoryLimitBytes();
    auto total = resources.getMemorySwapLimitBytes();
    if (limit == 0 && total == 0) return;
    auto& hierarchy = controller("memory");
    if (isV1(hierarchy)) {
      // Memory may never exceed memory and swap together. A kernel without swap accounting has no
      // file for the sum, and nothing to limit.
      bool countsSwap = files.has(hierarchy, "memory.memsw.limit_in_bytes");
      inEitherOrder(hierarchy, "memory.limit_in_bytes", limit == 0 ? kj::String() : kj::str(limit),
                    "memory.memsw.limit_in_bytes",
                    total == 0 || !countsSwap ? kj::String() : kj::str(total));
    } else {
      memoryV2(hierarchy, limit, total);
    }
  }

  void cpuset(kj::StringPtr cpus, kj::StringPtr mems) {
    if (cpus.size() > 0) files.write(controller("cpuset"), "cpuset.cpus", cpus);
    if (mems.size() > 0) files.write(controller("cpuset"), "cpuset.mems", mems);
  }

  void pids(int64_t limit) {
    if (limit != 0) files.write(controller("pids"), "pids.max", numberOrMax(limit));
  }

  void hugepages(capnp::List<Resources::HugepageLimit>::Reader limits) {
    for (auto limit : limits) {
      checkComponent(limit.getPageSize());
      // The kubelet sends a limit for every page size, mostly 0, to every machine: one whose kernel
      // cannot account for huge pages here is not told by a failing container.
      KJ_IF_MAYBE (hierarchy, hierarchies.withController("hugetlb")) {
        auto file =
            kj::str("hugetlb.", limit.getPageSize(), isV1(*hierarchy) ? ".limit_in_bytes" : ".max");
        if (files.has(*hierarchy, file)) {
          files.write(*hierarchy, file, kj::str(limit.getLimitBytes()));
        }
      }
    }
  }

  void unified(capnp::List<Resources::Unified>::Reader keys) {
    if (keys.size() == 0) return;
    auto& hierarchy =
        KJ_REQUIRE_NONNULL(hierarchies.unified(), "This machine has no v2 cgroup hierarchy.");
    for (auto key : keys) {
      checkComponent(key.getKey());
      files.write(hierarchy, key.getKey(), key.getValue());
    }
  }

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

  // Two limits that the kernel compares with each other (or their ratio with the parent's) at every
  // moment: which one is written first depends on whether they grow or shrink. Empty: not set.
  void inEitherOrder(const Hierarchy& hierarchy, kj::StringPtr first, kj::StringPtr firstValue,
                     kj::StringPtr second, kj::StringPtr secondValue) {
    int error = firstValue.size() == 0 ? 0 : files.tryWrite(hierarchy, first, firstValue);
    if (error != 0 && (error != EINVAL || secondValue.size() == 0)) {
      kj::throwFatalException(files.refusal(first, firstValue, error));
    }
    if (secondValue.size() > 0) files.write(hierarchy, second, secondValue);
    if (error != 0) files.write(hierarchy, first, firstValue);
  }

  void memoryV2(const Hierarchy& hierarchy, int64_t limit, int64_t total) {
    KJ_REQUIRE(total <= 0 || (limit > 0 && total >= limit),
               "The limit of memory and swap is below that of memory.", total, limit);
    if (limit > 0 && files.isReversible()) makeRoom(hierarchy, limit);
    if (limit != 0) files.write(hierarchy, "memory.max", numberOrMax(limit));
    // A kernel without swap accounting has no file, and nothing to limit.
    if (total == 0 || !files.has(hierarchy, "memory.swap.max")) return;
    files.write(hierarchy, "memory.swap.max", numberOrMax(total < 0 ? -1 : total - limit));
  }

  // v1 refuses a limit below what is in use and cannot be reclaimed; v2 kills for it. As on v1:
  // what can be is reclaimed first, which is what lowering memory.high does, and the rest is a
  // refusal.
  void makeRoom(const Hierarchy& hierarchy, int64_t limit) {
    uint64_t most = limit;
    if (files.readNumber(hierarchy, "memory.current") <= most) return;
    auto high = files.readNumber(hierarchy, "memory.high");
    if (high > most) files.write(hierarchy, "memory.high", kj::str(most));
    auto used = files.readNumber(hierarchy, "memory.current");
    if (used > most) {
      auto detail = kj::str(used, " bytes are in use and cannot be freed");
      kj::throwFatalException(files.refusal("memory.max", kj::str(most), EBUSY, detail));
    }
    if (high > most) {
      files.write(hierarchy, "memory.high", high == UINT64_MAX ? kj::str("max") : kj::str(high));
    }
  }
};

}  // namespace

void Cgroup::limit(Resources::Reader resources) {
  LimitFiles files(path.slice(1), LimitFiles::PutBack::NEVER);
  LimitWriter(hierarchies, files).all(resources);
}

void Cgroup::changeLimits(Resources::Reader resources, kj::Maybe<int32_t> oomScoreAdj) {
  LimitFiles files(path.slice(1), LimitFiles::PutBack::UNLESS_KEPT);
  LimitWriter(hierarchies, files).all(resources);
  KJ_IF_MAYBE (score, oomScoreAdj) {
    changeOomScores(*this, *score);
  }
  files.keep();
}

}  // namespace belay::shim
