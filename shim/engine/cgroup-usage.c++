// What a cgroup uses.
#include "shim/engine/cgroup-usage.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <stdio.h>
#include <stdlib.h>

#include "shim/engine/text-file.h"
#include "shim/sys/clock.h"

namespace belay::shim {
namespace {

using Hierarchy = CgroupHierarchies::Hierarchy;

// A rate over less would be one of the kernel's ticks rather than of the container.
constexpr int64_t MIN_RATE_NS = 1'000'000'000;

// v1 says "no limit" by the largest number of whole pages.
constexpr uint64_t V1_NO_LIMIT = 1ull << 62;

// A file's text; empty if it cannot be read: absent, or of a cgroup that is being removed.
kj::String textOf(int folder, kj::StringPtr file) {
  kj::String text;
  if (tryReadTextFile(folder, file, text) != 0) return kj::String();
  return text;
}

// A file with one number; "max" and a file that is not there are unknown.
uint64_t numberIn(int folder, kj::StringPtr file) {
  auto text = textOf(folder, file);
  if (text.size() == 0 || text[0] < '0' || text[0] > '9') return UNKNOWN;
  return strtoull(text.cStr(), nullptr, 10);
}

uint64_t limitV1(int folder, kj::StringPtr file) {
  uint64_t limit = numberIn(folder, file);
  return limit >= V1_NO_LIMIT ? UNKNOWN : limit;
}

// `a - b`, nothing below 0, unknown if either is.
uint64_t less(uint64_t a, uint64_t b) {
  if (a == UNKNOWN || b == UNKNOWN) return UNKNOWN;
  return a < b ? 0 : a - b;
}

bool parseLine(const char* text, kj::StringPtr word, Pressure::Line::Builder line) {
  double average10, average60, average300;
  unsigned long long total;
  auto format = kj::str(word, " avg10=%lf avg60=%lf avg300=%lf total=%llu");
  if (sscanf(text, format.cStr(), &average10, &average60, &average300, &total) != 4) return false;
  line.setAverage10(average10);
  line.setAverage60(average60);
  line.setAverage300(average300);
  line.setTotalUs(total);
  return true;
}

}  // namespace

bool parsePressure(kj::StringPtr text, Pressure::Builder pressure) {
  if (!parseLine(text.cStr(), "some", pressure.initSome())) return false;
  // Old kernels have no second line for the CPU.
  KJ_IF_MAYBE (end, text.findFirst('\n')) {
    parseLine(text.slice(*end + 1).cStr(), "full", pressure.initFull());
  }
  return true;
}

CgroupUsageReader::CgroupUsageReader(const CgroupHierarchies& hierarchies, kj::StringPtr path,
                                     int64_t sinceNs)
    : hierarchies(hierarchies), path(kj::str(path)), lastTimeNs(sinceNs) {}

void CgroupUsageReader::read(CgroupUsage::Builder usage) {
  latestNs = kj::max(latestNs, realtimeNs());
  usage.setTimeNs(latestNs);
  readCpu(usage);
  auto memory = hierarchies.withController("memory");
  KJ_IF_MAYBE (folder, folderIn(memory)) {
    if (KJ_ASSERT_NONNULL(memory).version == Hierarchy::Version::V1) {
      readMemoryV1(*folder, usage);
    } else {
      readMemoryV2(*folder, usage);
    }
  }
  KJ_IF_MAYBE (folder, folderIn(hierarchies.withController("pids"))) {
    usage.setTasks(numberIn(*folder, "pids.current"));
  }
  readPressure(usage);
}

// The cgroup's directory in the hierarchy; null if there is none.
kj::Maybe<int> CgroupUsageReader::folderIn(kj::Maybe<const Hierarchy&> wanted) {
  KJ_IF_MAYBE (hierarchy, wanted) {
    for (auto& folder : folders) {
      if (folder.hierarchy == hierarchy) return folder.fd.get();
    }
    int fd = openat(hierarchy->root, path.cStr() + 1, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) return folders.add(Folder{hierarchy, kj::AutoCloseFd(fd)}).fd.get();
  }
  return nullptr;
}

void CgroupUsageReader::readCpu(CgroupUsage::Builder usage) {
  uint64_t cpuNs = UNKNOWN;
  KJ_IF_MAYBE (folder, folderIn(hierarchies.withController("cpuacct"))) {
    cpuNs = numberIn(*folder, "cpuacct.usage");
  } else KJ_IF_MAYBE (folder, folderIn(hierarchies.unified())) {
    auto us = numberAfterKey(textOf(*folder, "cpu.stat"), "usage_usec");
    cpuNs = us.map([](uint64_t value) { return value * 1000; }).orDefault(UNKNOWN);
  }
  if (cpuNs == UNKNOWN) return;
  int64_t elapsedNs = latestNs - lastTimeNs;
  if (elapsedNs >= MIN_RATE_NS || (rate == UNKNOWN && elapsedNs > 0)) {
    rate = double(less(cpuNs, lastCpuNs)) * 1e9 / double(elapsedNs);
    if (elapsedNs >= MIN_RATE_NS) {
      lastTimeNs = latestNs;
      lastCpuNs = cpuNs;
    }
  }
  usage.setCpuNs(cpuNs);
  usage.setCpuNsPerSecond(rate);
}

void CgroupUsageReader::readMemoryV1(int folder, CgroupUsage::Builder usage) {
  auto stat = textOf(folder, "memory.stat");
  auto counted = [&](kj::StringPtr key) { return numberAfterKey(stat, key).orDefault(UNKNOWN); };
  auto used = numberIn(folder, "memory.usage_in_bytes");
  auto limit = limitV1(folder, "memory.limit_in_bytes");
  usage.setMemoryBytes(used);
  usage.setWorkingSetBytes(less(used, counted("total_inactive_file")));
  usage.setMemoryLimitBytes(limit);
  usage.setAnonymousBytes(counted("total_rss"));
  usage.setPageFaults(counted("total_pgfault"));
  usage.setMajorPageFaults(counted("total_pgmajfault"));
  // Where swap is counted, it has a limit together with memory.
  usage.setSwapBytes(counted("total_swap"));
  usage.setSwapLimitBytes(less(limitV1(folder, "memory.memsw.limit_in_bytes"), limit));
}

void CgroupUsageReader::readMemoryV2(int folder, CgroupUsage::Builder usage) {
  auto stat = textOf(folder, "memory.stat");
  auto counted = [&](kj::StringPtr key) { return numberAfterKey(stat, key).orDefault(UNKNOWN); };
  auto used = numberIn(folder, "memory.current");
  usage.setMemoryBytes(used);
  usage.setWorkingSetBytes(less(used, counted("inactive_file")));
  usage.setMemoryLimitBytes(numberIn(folder, "memory.max"));
  usage.setAnonymousBytes(counted("anon"));
  usage.setPageFaults(counted("pgfault"));
  usage.setMajorPageFaults(counted("pgmajfault"));
  usage.setSwapBytes(numberIn(folder, "memory.swap.current"));
  usage.setSwapLimitBytes(numberIn(folder, "memory.swap.max"));
}

void CgroupUsageReader::readPressure(CgroupUsage::Builder usage) {
  KJ_IF_MAYBE (folder, folderIn(hierarchies.unified())) {
    if (!parsePressure(textOf(*folder, "cpu.pressure"), usage.initCpuPressure())) {
      // Off, or not built in: then the others are, too.
      usage.disownCpuPressure();
      return;
    }
    if (!parsePressure(textOf(*folder, "memory.pressure"), usage.initMemoryPressure())) {
      usage.disownMemoryPressure();
    }
    if (!parsePressure(textOf(*folder, "io.pressure"), usage.initIoPressure())) {
      usage.disownIoPressure();
    }
  }
}

}  // namespace belay::shim
