// Which file descriptors a process has.
#include "shim/sys/fds.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

namespace belay::sys {

int closeAllBut(int* keep, size_t count) {
  std::sort(keep, keep + count);
  unsigned int next = 0;
  for (size_t i = 0; i < count; ++i) {
    if (keep[i] < 0) continue;
    unsigned int kept = keep[i];
    if (kept > next && close_range(next, kept - 1, 0) < 0) return -1;
    next = kept + 1;
  }
  return close_range(next, UINT_MAX, 0);
}

int newMemoryFile(const char* name) {
  return memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
}

int newExecutableMemoryFile(const char* name) {
  constexpr unsigned int EXEC = 0x10;  // MFD_EXEC, which older kernels do not know.
  int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | EXEC);
  return fd < 0 && errno == EINVAL ? newMemoryFile(name) : fd;
}

int sealMemoryFile(int fd) {
  return fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
}

}  // namespace belay::sys
