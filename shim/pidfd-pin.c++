// Implementation of pidfd-pin.h.
#include "shim/pidfd-pin.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <kj/io.h>
#include <sys/mount.h>
#include <unistd.h>

#include "shim/record.h"
#include "shim/sys/mounts.h"
#include "shim/sys/pidfd.h"

namespace belay::shim {

bool pinPidfd(int pidfd, int dirFd, kj::StringPtr name) {
  int raw;
  KJ_SYSCALL(raw = openat(dirFd, name.cStr(), O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600),
             name);
  kj::AutoCloseFd file(raw);
  // Only a clone of the pidfd's own mount can be attached; MS_BIND of /proc/self/fd/N is EINVAL.
  kj::AutoCloseFd tree(sys::cloneTree(pidfd, "", sys::Recursion::THIS_MOUNT));
  if (tree.get() >= 0 && sys::attach(tree, file) == 0) return true;
  unpinPidfd(dirFd, name);
  return false;
}

kj::AutoCloseFd openPinnedPidfd(int dirFd, kj::StringPtr name) {
  kj::AutoCloseFd fd(openat(dirFd, name.cStr(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  // Where nothing is pinned it is an empty file.
  if (fd.get() >= 0 && sys::pidOf(fd) < 0 && errno != ESRCH) return nullptr;
  return fd;
}

void unpinPidfd(int dirFd, kj::StringPtr name) {
  auto path = kj::str("/proc/self/fd/", dirFd, "/", name);
  // EINVAL: nothing is mounted there.
  if (umount2(path.cStr(), MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL &&
      errno != ENOENT) {
    KJ_FAIL_SYSCALL("umount2", errno, name);
  }
  removeFile(dirFd, name);
}

}  // namespace belay::shim
