// Opening paths that a stranger has laid out.
#include "shim/sys/path.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace belay::sys {
namespace {

// With a peer that renames without end 8 % of the tries fail: 128 in a row do not happen.
constexpr int MAX_TRIES = 128;

int openat2(int directory, const char* path, uint64_t flags, mode_t mode, uint64_t resolve) {
  struct open_how how = {};
  how.flags = flags | O_CLOEXEC;
  how.mode = mode;
  how.resolve = resolve;
  for (int tries = 1;; ++tries) {
    int fd = syscall(SYS_openat2, directory, path, &how, sizeof(how));
    bool again = fd < 0 && (errno == EAGAIN || errno == EINTR);
    if (!again || tries == MAX_TRIES) return fd;
  }
}

}  // namespace

int openInRoot(int root, const char* path, uint64_t flags, mode_t mode, uint64_t resolve) {
  return openat2(root, path, flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve);
}

int openBeneath(int directory, const char* path, uint64_t flags, mode_t mode, uint64_t resolve) {
  return openat2(directory, path, flags, mode, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | resolve);
}

}  // namespace belay::sys
