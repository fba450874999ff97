// What a cgroup uses, read from its files on v1, the hybrid layout and v2.
#pragma once

#include <kj/io.h>
#include <kj/string.h>
#include <kj/vector.h>

#include "shim/engine/cgroup-hierarchies.h"
#include "shim/shim.capnp.h"

namespace belay::shim {

// Reads one cgroup again and again: keeps a directory descriptor (O_PATH) for each hierarchy that
// it reads from, since the path to it is longer than what is read, but no file, since a file that
// was read costs the kernel more memory than the shim itself has; and the last sample, for the rate
// of CPU time.
class CgroupUsageReader {
 public:
  // `path` is absolute below each hierarchy's root; `hierarchies` outlives this object. `sinceNs`
  // (CLOCK_REALTIME) is when the cgroup began to be used.
  CgroupUsageReader(const CgroupHierarchies& hierarchies, kj::StringPtr path, int64_t sinceNs);
  KJ_DISALLOW_COPY_AND_MOVE(CgroupUsageReader);

  // What the kernel does not count stays unknown. A cgroup that is gone is all unknown.
  void read(CgroupUsage::Builder usage);

 private:
  struct Folder {
    const CgroupHierarchies::Hierarchy* hierarchy;
    kj::AutoCloseFd fd;
  };

  const CgroupHierarchies& hierarchies;
  kj::String path;
  kj::Vector<Folder> folders;

  int64_t lastTimeNs;  // of the sample below; for the first one the time the cgroup began
  uint64_t lastCpuNs = 0;
  uint64_t rate = UNKNOWN;
  int64_t latestNs = 0;

  kj::Maybe<int> folderIn(kj::Maybe<const CgroupHierarchies::Hierarchy&> hierarchy);
  void readCpu(CgroupUsage::Builder usage);
  void readMemoryV1(int folder, CgroupUsage::Builder usage);
  void readMemoryV2(int folder, CgroupUsage::Builder usage);
  void readPressure(CgroupUsage::Builder usage);
};

// The two lines of a pressure file; false if the text is none. For the reader and its test.
bool parsePressure(kj::StringPtr text, Pressure::Builder pressure);

}  // namespace belay::shim
