// What a container sees of its cgroups.
#include "shim/engine/cgroup-view.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim/sys/mounts.h"
#include "shim/sys/path.h"

namespace belay::shim {
namespace {

constexpr const char* STEP = "mount the cgroup";

}  // namespace

CgroupView::CgroupView(const CgroupHierarchies& hierarchies, kj::StringPtr path)
    : v2Alone(hierarchies.all().size() == 1 && hierarchies.unified() != nullptr) {
  for (auto& hierarchy : hierarchies.all()) {
    Part part;
    part.source = kj::str(hierarchy.mountPoint, path);
    part.name = kj::str(hierarchy.mountPoint.slice(
        hierarchy.mountPoint.findLast('/').map([](size_t i) { return i + 1; }).orDefault(0)));
    kj::Vector<kj::String> links;
    if (hierarchy.version == CgroupHierarchies::Hierarchy::Version::V1) {
      for (auto& controller : hierarchy.controllers) {
        if (controller != part.name && !controller.startsWith("name=")) {
          links.add(kj::str(controller));
        }
      }
    }
    part.links = links.releaseAsArray();
    parts.add(kj::mv(part));
  }
}

void CgroupView::open(const Reporter& reporter) {
  for (auto& part : parts) {
    part.tree = sys::cloneTree(AT_FDCWD, part.source.cStr(), sys::Recursion::THIS_MOUNT);
    if (part.tree < 0) reporter.fail("open the cgroup", part.source.cStr(), errno);
    if (sys::changeMount(part.tree, 0, 0, MS_PRIVATE, sys::Recursion::THIS_MOUNT) < 0) {
      reporter.fail("open the cgroup", part.source.cStr(), errno);
    }
  }
}

void CgroupView::attach(const Reporter& reporter, int target, uint64_t attributes) {
  for (auto& part : parts) {
    if (sys::changeMount(part.tree, attributes, 0, 0, sys::Recursion::THIS_MOUNT) < 0) {
      reporter.fail(STEP, part.name.cStr(), errno);
    }
  }
  if (v2Alone) {
    if (sys::attach(parts[0].tree, target) < 0) reporter.fail(STEP, "", errno);
    close(parts[0].tree);
    return;
  }
  constexpr sys::MountOption OPTIONS[] = {{"mode", "0755"}, {"size", "64k"}};
  int base =
      sys::newMount("tmpfs", OPTIONS, 2, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
  if (base < 0 || sys::attach(base, target) < 0) reporter.fail(STEP, "tmpfs", errno);
  for (auto& part : parts) {
    if (mkdirat(base, part.name.cStr(), 0755) < 0) {
      reporter.fail(STEP, part.name.cStr(), errno);
    }
    int place = sys::openBeneath(base, part.name.cStr(), O_PATH | O_DIRECTORY);
    if (place < 0 || sys::attach(part.tree, place) < 0) {
      reporter.fail(STEP, part.name.cStr(), errno);
    }
    close(place);
    close(part.tree);
    for (auto& link : part.links) {
      if (symlinkat(part.name.cStr(), base, link.cStr()) < 0) {
        reporter.fail(STEP, link.cStr(), errno);
      }
    }
  }
  if (sys::changeMount(base, attributes, 0, 0, sys::Recursion::THIS_MOUNT) < 0) {
    reporter.fail(STEP, "tmpfs", errno);
  }
  close(base);
}

}  // namespace belay::shim
