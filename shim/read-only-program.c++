// Implementation of read-only-program.h.
#include "shim/read-only-program.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/io.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "shim/sys/mounts.h"

namespace belay::shim {

bool runFromReadOnlyMount(char** argv) {
  kj::AutoCloseFd program(open("/proc/self/exe", O_PATH | O_CLOEXEC));
  struct statvfs info;
  if (program.get() < 0 || fstatvfs(program, &info) < 0) return false;
  if (info.f_flag & ST_RDONLY) return true;

  using sys::Recursion;
  kj::AutoCloseFd copy(sys::cloneTree(program, "", Recursion::THIS_MOUNT));
  if (copy.get() < 0 ||
      sys::changeMount(copy, MOUNT_ATTR_RDONLY, 0, MS_PRIVATE, Recursion::THIS_MOUNT) < 0) {
    return false;
  }
  execveat(copy, "", argv, environ, AT_EMPTY_PATH);
  return false;
}

}  // namespace belay::shim
