// Where a pod's cgroup is.
#include "supervisor/spec/cgroup-path.h"

#include <ctype.h>
#include <string.h>

#include "supervisor/spec/check.h"

namespace belay::supervisor {

namespace {

constexpr kj::StringPtr FIELD = "linux.cgroup_parent"_kj;
constexpr kj::StringPtr SLICE = ".slice"_kj;
constexpr kj::StringPtr SCOPE = ".scope"_kj;

// systemd's limit for a unit's name.
constexpr size_t MAX_UNIT_NAME_BYTES = 255;

kj::String absolute(kj::StringPtr parent) {
  auto path = strictPath(FIELD, parent.startsWith("/") ? kj::str(parent) : kj::str("/", parent));
  // Containers directly below the root would be beside the host's own slices.
  if (path == "/") refuse(FIELD, "is the root of all cgroups");
  return path;
}

kj::StringPtr lastComponent(kj::StringPtr path) {
  return path.slice(path.findLast('/').map([](size_t i) { return i + 1; }).orDefault(0));
}

// Config::cgroupRoot as the beginning of unit names, in which a slash cannot be.
kj::String unitPrefix(kj::StringPtr root) {
  auto prefix = kj::str(root);
  for (char& c : prefix) {
    if (c == '/') c = '-';
  }
  return prefix;
}

kj::String parentSlice(kj::StringPtr parent, kj::StringPtr root) {
  if (parent.size() == 0) return slicePath(kj::str(unitPrefix(root), SLICE));
  auto path = absolute(parent);
  auto slice = lastComponent(path);
  if (!slice.endsWith(SLICE)) {
    refuse(FIELD, "\"", parent, "\" does not end with a slice, which it must with the systemd ",
           "cgroup driver: client and belay (cgroup_driver) have different ones");
  }
  auto expanded = slicePath(slice);
  // A name alone stands for its place; a whole path must be right.
  if (lastComponent(parent).size() != parent.size() && path != expanded) {
    refuse(FIELD, "\"", parent, "\" is not where systemd has the slice ", slice, ": ", expanded);
  }
  return expanded;
}

}  // namespace

kj::String podCgroupPath(PodConfig::Reader pod, CgroupDriver driver, kj::StringPtr root,
                         kj::StringPtr podId) {
  kj::StringPtr parent = pod.getCgroupParent();
  switch (driver) {
    case CgroupDriver::CGROUPFS:
      return parent.size() == 0 ? kj::str("/", root, "/pods/", podId) : absolute(parent);
    case CgroupDriver::SYSTEMD:
      return kj::str(parentSlice(parent, root), "/", unitPrefix(root), "-", podId, SCOPE);
  }
  KJ_UNREACHABLE;
}

bool isScopeOfPod(kj::StringPtr path, kj::StringPtr podId) {
  return lastComponent(path).endsWith(kj::str("-", podId, SCOPE));
}

bool isCgroupOfPodAlone(kj::StringPtr path, kj::StringPtr podId) {
  return lastComponent(path) == podId || isScopeOfPod(path, podId);
}

kj::String slicePath(kj::StringPtr slice) {
  auto wrong = [&] { refuse(FIELD, "\"", slice, "\" is no slice's name (systemd.slice(5))"); };
  if (!slice.endsWith(SLICE) || slice.size() > MAX_UNIT_NAME_BYTES) wrong();
  auto name = kj::heapString(slice.slice(0, slice.size() - SLICE.size()));
  if (name.size() == 0 || name.startsWith("-") || name.endsWith("-")) wrong();
  kj::Vector<char> path;
  for (size_t i = 0; i < name.size(); ++i) {
    char c = name[i];
    if (!isalnum(static_cast<unsigned char>(c)) && strchr(":_.\\-", c) == nullptr) wrong();
    if (c != '-') continue;
    if (name[i + 1] == '-') wrong();
    path.addAll(kj::str("/", name.slice(0, i), SLICE));
  }
  return kj::str(path, "/", slice);
}

}  // namespace belay::supervisor
