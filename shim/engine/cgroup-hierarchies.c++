// Where the machine's cgroup hierarchies are mounted.
#include "shim/engine/cgroup-hierarchies.h"

#include <fcntl.h>
#include <kj/debug.h>

#include "shim/engine/text-file.h"

namespace belay::shim {
namespace {

// The options of a v1 mount hold its controllers among others (rw, xattr, release_agent=...).
constexpr kj::StringPtr V1_CONTROLLERS[] = {
    "cpu"_kj,  "cpuacct"_kj, "cpuset"_kj,  "memory"_kj,   "devices"_kj,    "freezer"_kj, "blkio"_kj,
    "pids"_kj, "hugetlb"_kj, "net_cls"_kj, "net_prio"_kj, "perf_event"_kj, "rdma"_kj,    "misc"_kj,
};

kj::Vector<kj::String> split(kj::ArrayPtr<const char> text, char separator) {
  kj::Vector<kj::String> parts;
  size_t start = 0;
  for (size_t i = 0; i <= text.size(); ++i) {
    if (i < text.size() && text[i] != separator) continue;
    if (i > start) parts.add(kj::heapString(text.slice(start, i)));
    start = i + 1;
  }
  return parts;
}

// mountinfo writes space, tab, newline and backslash as \ooo.
kj::String unescape(kj::StringPtr text) {
  kj::Vector<char> result(text.size() + 1);
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      result.add((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      result.add(text[i]);
    }
  }
  result.add('\0');
  return kj::String(result.releaseAsArray());
}

kj::Array<kj::String> v1Controllers(kj::StringPtr options) {
  kj::Vector<kj::String> controllers;
  for (auto& option : split(options, ',')) {
    bool known = option.startsWith("name=");
    for (auto controller : V1_CONTROLLERS)
      known = known || option == controller;
    if (known) controllers.add(kj::mv(option));
  }
  return controllers.releaseAsArray();
}

bool sameHierarchy(const CgroupHierarchies::Hierarchy& a, const CgroupHierarchies::Hierarchy& b) {
  if (a.version != b.version) return false;
  if (a.version == CgroupHierarchies::Hierarchy::Version::V2) return true;
  return a.controllers.size() > 0 && b.controllers.size() > 0 &&
         a.controllers[0] == b.controllers[0];
}

}  // namespace

kj::Vector<CgroupHierarchies::Hierarchy> CgroupHierarchies::parse(kj::StringPtr mountinfo) {
  kj::Vector<Hierarchy> hierarchies;
  for (auto& line : split(mountinfo, '\n')) {
    // "id parent major:minor root mountpoint options [optional...] - type source options"
    auto fields = split(line, ' ');
    size_t dash = 6;
    while (dash < fields.size() && fields[dash] != "-")
      ++dash;
    if (dash + 3 >= fields.size()) continue;

    Hierarchy found;
    found.mountPoint = unescape(fields[4]);
    if (fields[dash + 1] == "cgroup2") {
      found.version = Hierarchy::Version::V2;
    } else if (fields[dash + 1] == "cgroup") {
      found.version = Hierarchy::Version::V1;
      found.controllers = v1Controllers(fields[dash + 3]);
      if (found.controllers.size() == 0) continue;
    } else {
      continue;
    }
    bool repeated = false;
    for (auto& earlier : hierarchies)
      repeated = repeated || sameHierarchy(earlier, found);
    if (!repeated) hierarchies.add(kj::mv(found));
  }
  return hierarchies;
}

CgroupHierarchies CgroupHierarchies::discover() {
  return fromMountinfo(readTextFile(AT_FDCWD, "/proc/self/mountinfo", 16 << 20));
}

CgroupHierarchies CgroupHierarchies::fromMountinfo(kj::StringPtr mountinfo) {
  auto hierarchies = parse(mountinfo);
  KJ_REQUIRE(hierarchies.size() > 0, "No cgroup hierarchy is mounted on this machine.");
  for (auto& hierarchy : hierarchies) {
    int fd;
    KJ_SYSCALL(fd = ::open(hierarchy.mountPoint.cStr(), O_PATH | O_DIRECTORY | O_CLOEXEC),
               hierarchy.mountPoint);
    hierarchy.root = kj::AutoCloseFd(fd);
    if (hierarchy.version == Hierarchy::Version::V2) {
      auto names = readTextFile(hierarchy.root, "cgroup.controllers");
      kj::StringPtr line = names;
      hierarchy.controllers =
          split(line.slice(0, line.findFirst('\n').orDefault(line.size())), ' ').releaseAsArray();
    }
  }
  return CgroupHierarchies(hierarchies.releaseAsArray());
}

kj::Maybe<const CgroupHierarchies::Hierarchy&> CgroupHierarchies::withController(
    kj::StringPtr controller) const {
  for (auto& hierarchy : hierarchies) {
    for (auto& name : hierarchy.controllers) {
      if (name == controller) return hierarchy;
    }
  }
  return nullptr;
}

kj::Maybe<const CgroupHierarchies::Hierarchy&> CgroupHierarchies::unified() const {
  for (auto& hierarchy : hierarchies) {
    if (hierarchy.version == Hierarchy::Version::V2) return hierarchy;
  }
  return nullptr;
}

}  // namespace belay::shim
