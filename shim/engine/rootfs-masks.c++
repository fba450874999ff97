// Hides and write-protects parts of /proc and /sys.
#include "shim/engine/rootfs-masks.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "shim/sys/mounts.h"
#include "shim/sys/path.h"

namespace belay::shim {
namespace {

constexpr const char* MASK_STEP = "mask the path";

// The paths are the runtime's or the CRI's, of the kernel's file systems: a link in them is an
// image's trick.
int openPath(const Reporter& reporter, const char* step, int root, const char* path) {
  int fd = sys::openInRoot(root, path, O_PATH, 0, RESOLVE_NO_SYMLINKS);
  if (fd < 0 && errno != ENOENT && errno != ENOTDIR) reporter.fail(step, path, errno);
  return fd;
}

int openRoot(const Reporter& reporter) {
  int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) reporter.fail("open", "/", errno);
  return root;
}

// What covers files: the container's own null device, looked at through the descriptor that is then
// mounted, because an image's "/dev/null" could be anything (CVE-2025-31133).
int openNullDevice(const Reporter& reporter, int root) {
  constexpr const char* NULL_DEVICE = "/dev/null";
  int fd = sys::openInRoot(root, NULL_DEVICE, O_PATH | O_NOFOLLOW, 0, RESOLVE_NO_SYMLINKS);
  if (fd < 0) reporter.fail("open", NULL_DEVICE, errno);
  struct stat info;
  if (fstat(fd, &info) < 0) reporter.fail("open", NULL_DEVICE, errno);
  if (!S_ISCHR(info.st_mode) || info.st_rdev != makedev(1, 3)) {
    reporter.refuse(Failure::Code::FAILED_PRECONDITION, MASK_STEP, NULL_DEVICE,
                    "it is not the null device");
  }
  return fd;
}

// What covers directories, made when the first one comes and cloned for the others.
int newEmptyDirectory(const Reporter& reporter) {
  constexpr sys::MountOption OPTIONS[] = {{"size", "4k"}, {"nr_inodes", "1"}, {"mode", "0555"}};
  int fd =
      sys::newMount("tmpfs", OPTIONS, 3,
                    MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
  if (fd < 0) reporter.fail(MASK_STEP, "an empty tmpfs", errno);
  return fd;
}

void attachCover(const Reporter& reporter, int cover, int target, const char* path) {
  if (cover < 0 || sys::attach(cover, target) < 0) reporter.fail(MASK_STEP, path, errno);
}

}  // namespace

void maskPaths(const Reporter& reporter, capnp::List<capnp::Text>::Reader paths) {
  if (paths.size() == 0) return;
  int root = openRoot(reporter);
  int nullDevice = -1;
  int emptyDirectory = -1;
  for (auto path : paths) {
    int target = openPath(reporter, MASK_STEP, root, path.cStr());
    if (target < 0) continue;
    struct stat info;
    if (fstat(target, &info) < 0) reporter.fail(MASK_STEP, path.cStr(), errno);
    if (S_ISDIR(info.st_mode) && emptyDirectory < 0) {
      // The first one is attached itself: before Linux 6.15 a detached mount cannot be cloned.
      emptyDirectory = newEmptyDirectory(reporter);
      attachCover(reporter, emptyDirectory, target, path.cStr());
    } else {
      if (!S_ISDIR(info.st_mode) && nullDevice < 0) nullDevice = openNullDevice(reporter, root);
      int source = S_ISDIR(info.st_mode) ? emptyDirectory : nullDevice;
      int cover = sys::cloneTree(source, "", sys::Recursion::THIS_MOUNT);
      attachCover(reporter, cover, target, path.cStr());
      close(cover);
    }
    close(target);
  }
  if (nullDevice >= 0) close(nullDevice);
  if (emptyDirectory >= 0) close(emptyDirectory);
  close(root);
}

void makePathsReadonly(const Reporter& reporter, capnp::List<capnp::Text>::Reader paths) {
  constexpr const char* STEP = "make the path read-only";
  if (paths.size() == 0) return;
  int root = openRoot(reporter);
  for (auto path : paths) {
    int target = openPath(reporter, STEP, root, path.cStr());
    if (target < 0) continue;
    int copy = sys::cloneTree(target, "", sys::Recursion::RECURSIVE);
    if (copy < 0 ||
        sys::changeMount(copy, MOUNT_ATTR_RDONLY, 0, 0, sys::Recursion::RECURSIVE) < 0 ||
        sys::attach(copy, target) < 0) {
      reporter.fail(STEP, path.cStr(), errno);
    }
    close(copy);
    close(target);
  }
  close(root);
}

}  // namespace belay::shim
