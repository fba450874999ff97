// A container's limits.
#include "supervisor/spec/resources.h"

#include <ctype.h>
#include <kj/debug.h>

#include <algorithm>

#include "supervisor/spec/check.h"

namespace belay::supervisor {

namespace {

int64_t atLeast(kj::StringPtr field, int64_t value, int64_t least) {
  if (value < least) refuse(kj::str("linux.resources.", field), value, " is below ", least);
  return value;
}

// "0-3,7": what the kernel parses; anything else would fail late and say little.
void checkSet(kj::StringPtr field, kj::StringPtr set) {
  for (char c : set) {
    if (!isdigit(c) && c != '-' && c != ',') {
      refuse(kj::str("linux.resources.", field), "\"", set, "\" is not a list like 0-3,7");
    }
  }
}

// The key becomes a file's name in the container's cgroup. cgroup.* files move and kill processes
// and are belay's own.
void checkUnifiedKey(kj::StringPtr key) {
  bool wellFormed = key.findFirst('.') != nullptr && !key.startsWith(".") && key.size() < 128;
  for (char c : key) {
    wellFormed = wellFormed && (islower(c) || isdigit(c) || c == '.' || c == '_');
  }
  if (!wellFormed)
    refuse("linux.resources.unified", "\"", key, "\" is not a cgroup v2 file's name");
  if (key.startsWith("cgroup.")) {
    refuse("linux.resources.unified", "\"", key, "\" is not a limit");
  }
}

void checkPageSize(kj::StringPtr size) {
  bool wellFormed = size.size() > 2 && size.size() < 16;
  for (char c : size) {
    wellFormed = wellFormed && isalnum(c);
  }
  if (!wellFormed) {
    refuse("linux.resources.hugepage_limits", "\"", size, "\" is not a size like 2MB");
  }
}

// The kubelet asks for -997 for many containers: a line for each would say nothing new.
void sayOnceThatItIsRaised(int64_t wanted, int32_t least) {
  static bool said = false;
  if (said) return;
  said = true;
  KJ_LOG(WARNING,
         "containers get no oom_score_adj below belayd's own: restrict_oom_score_adj is set,"
         " or belayd lacks CAP_SYS_RESOURCE (said once)",
         wanted, least);
}

}  // namespace

void fillResources(shim::Resources::Builder to, LinuxResources::Reader from) {
  to.setCpuShares(atLeast("cpu_shares", from.getCpuShares(), 0));
  to.setCpuQuotaUs(atLeast("cpu_quota", from.getCpuQuotaUs(), -1));
  to.setCpuPeriodUs(atLeast("cpu_period", from.getCpuPeriodUs(), 0));
  int64_t memory = atLeast("memory_limit_in_bytes", from.getMemoryLimitBytes(), -1);
  int64_t swap = atLeast("memory_swap_limit_in_bytes", from.getMemorySwapLimitBytes(), -1);
  if (swap > 0 && (memory < 0 || (memory > 0 && swap < memory))) {
    refuse("linux.resources.memory_swap_limit_in_bytes", swap, " is below the memory limit ",
           memory < 0 ? kj::str("(none)") : kj::str(memory),
           ", and counts memory and swap together");
  }
  to.setMemoryLimitBytes(memory);
  to.setMemorySwapLimitBytes(swap == 0 ? memory : swap);

  checkSet("cpuset_cpus", from.getCpusetCpus());
  checkSet("cpuset_mems", from.getCpusetMems());
  to.setCpusetCpus(from.getCpusetCpus());
  to.setCpusetMems(from.getCpusetMems());

  for (auto limit : from.getHugepageLimits())
    checkPageSize(limit.getPageSize());
  to.setHugepageLimits(from.getHugepageLimits());

  auto unified = to.initUnified(from.getUnified().size());
  for (kj::uint i = 0; i < unified.size(); ++i) {
    auto pair = from.getUnified()[i];
    checkUnifiedKey(pair.getKey());
    requireNoNul("linux.resources.unified", kj::StringPtr(pair.getValue()));
    unified[i].setKey(pair.getKey());
    unified[i].setValue(pair.getValue());
  }
}

namespace {

bool isSetIn(capnp::List<shim::Resources::HugepageLimit>::Reader limits, kj::StringPtr pageSize) {
  for (auto limit : limits) {
    if (limit.getPageSize() == pageSize) return true;
  }
  return false;
}

bool isSetIn(capnp::List<Pair>::Reader pairs, kj::StringPtr key) {
  for (auto pair : pairs) {
    if (pair.getKey() == key) return true;
  }
  return false;
}

// Those of `present` that `change` does not set, and then all of `change`.
template <typename Item, typename KeyOf, typename Init>
void mergeLists(typename capnp::List<Item>::Reader present,
                typename capnp::List<Item>::Reader change, KeyOf&& keyOf, Init&& init) {
  kj::Vector<typename Item::Reader> all;
  for (auto item : present) {
    if (!isSetIn(change, keyOf(item))) all.add(item);
  }
  for (auto item : change)
    all.add(item);
  auto list = init(all.size());
  for (kj::uint i = 0; i < all.size(); ++i)
    list.setWithCaveats(i, all[i]);
}

}  // namespace

Owned<LinuxResources> mergeResources(LinuxResources::Reader present,
                                     LinuxResources::Reader change) {
  return Owned<LinuxResources>(present).with([&](LinuxResources::Builder to) {
    if (change.getCpuPeriodUs() != 0) to.setCpuPeriodUs(change.getCpuPeriodUs());
    if (change.getCpuQuotaUs() != 0) to.setCpuQuotaUs(change.getCpuQuotaUs());
    if (change.getCpuShares() != 0) to.setCpuShares(change.getCpuShares());
    if (change.getMemoryLimitBytes() != 0) to.setMemoryLimitBytes(change.getMemoryLimitBytes());
    if (change.getMemorySwapLimitBytes() != 0) {
      to.setMemorySwapLimitBytes(change.getMemorySwapLimitBytes());
    }
    if (change.getOomScoreAdj() != 0) to.setOomScoreAdj(change.getOomScoreAdj());
    if (change.getCpusetCpus().size() > 0) to.setCpusetCpus(change.getCpusetCpus());
    if (change.getCpusetMems().size() > 0) to.setCpusetMems(change.getCpusetMems());
    mergeLists<shim::Resources::HugepageLimit>(
        present.getHugepageLimits(), change.getHugepageLimits(),
        [](auto limit) { return limit.getPageSize(); },
        [&](kj::uint size) { return to.initHugepageLimits(size); });
    mergeLists<Pair>(
        present.getUnified(), change.getUnified(), [](auto pair) { return pair.getKey(); },
        [&](kj::uint size) { return to.initUnified(size); });
  });
}

void fillChange(shim::Resources::Builder to, shim::Resources::Reader resources,
                LinuxResources::Reader change) {
  if (change.getCpuShares() != 0) to.setCpuShares(resources.getCpuShares());
  if (change.getCpuQuotaUs() != 0 || change.getCpuPeriodUs() != 0) {
    to.setCpuQuotaUs(resources.getCpuQuotaUs());
    to.setCpuPeriodUs(resources.getCpuPeriodUs());
  }
  if (change.getMemoryLimitBytes() != 0 || change.getMemorySwapLimitBytes() != 0) {
    to.setMemoryLimitBytes(resources.getMemoryLimitBytes());
    to.setMemorySwapLimitBytes(resources.getMemorySwapLimitBytes());
  }
  to.setCpusetCpus(change.getCpusetCpus());
  to.setCpusetMems(change.getCpusetMems());
  to.setHugepageLimits(change.getHugepageLimits());
  auto unified = to.initUnified(change.getUnified().size());
  for (kj::uint i = 0; i < unified.size(); ++i) {
    unified[i].setKey(change.getUnified()[i].getKey());
    unified[i].setValue(change.getUnified()[i].getValue());
  }
}

kj::String describe(LinuxResources::Reader resources) {
  kj::Vector<kj::String> words;
  auto number = [&](kj::StringPtr name, int64_t value) {
    if (value != 0) words.add(kj::str(name, '=', value));
  };
  auto text = [&](kj::StringPtr name, kj::StringPtr value) {
    if (value.size() > 0) words.add(kj::str(name, '=', value));
  };
  number("cpu_period", resources.getCpuPeriodUs());
  number("cpu_quota", resources.getCpuQuotaUs());
  number("cpu_shares", resources.getCpuShares());
  number("memory_limit_in_bytes", resources.getMemoryLimitBytes());
  number("memory_swap_limit_in_bytes", resources.getMemorySwapLimitBytes());
  number("oom_score_adj", resources.getOomScoreAdj());
  text("cpuset_cpus", resources.getCpusetCpus());
  text("cpuset_mems", resources.getCpusetMems());
  for (auto limit : resources.getHugepageLimits())
    words.add(kj::str("hugepages ", limit.getPageSize(), '=', limit.getLimitBytes()));
  for (auto pair : resources.getUnified())
    text(pair.getKey(), pair.getValue());
  return kj::strArray(words, " ");
}

int32_t oomScoreAdj(LinuxResources::Reader resources, kj::Maybe<int32_t> floor) {
  int64_t wanted = resources.getOomScoreAdj();
  if (wanted < -1000 || wanted > 1000) {
    refuse("linux.resources.oom_score_adj", wanted, " is not between -1000 and 1000");
  }
  KJ_IF_MAYBE (least, floor) {
    if (wanted < *least) sayOnceThatItIsRaised(wanted, *least);
    wanted = std::max<int64_t>(wanted, *least);
  }
  return static_cast<int32_t>(wanted);
}

}  // namespace belay::supervisor
