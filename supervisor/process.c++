// See process.h.
#include "supervisor/process.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot/failure.h"

namespace belay::supervisor {

namespace {

using snapshot::Code;
using snapshot::fail;

void makeFolder(kj::StringPtr path) {
  for (size_t end = 1; end <= path.size(); ++end) {
    if (end < path.size() && path[end] != '/') continue;
    auto name = kj::heapString(path.slice(0, end));
    KJ_SYSCALL_HANDLE_ERRORS(mkdir(name.cStr(), end == path.size() ? 0700 : 0755)) {
      case EEXIST:
        break;
      default:
        fail(Code::FAILED_PRECONDITION, "cannot make folder ", name, ": ", strerror(error));
    }
  }
}

// The children of a belayd that has just died hold its lock until they execute their programs.
constexpr int LOCK_TRIES = 100;
constexpr useconds_t LOCK_PAUSE_US = 10'000;

}  // namespace

kj::AutoCloseFd lockRoot(kj::StringPtr root) {
  makeFolder(root);
  auto path = kj::str(root, "/belayd.lock");
  int fd;
  KJ_SYSCALL(fd = open(path.cStr(), O_RDWR | O_CREAT | O_CLOEXEC, 0600), path);
  kj::AutoCloseFd file(fd);
  for (int tries = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; ++tries) {
    if (errno != EWOULDBLOCK) KJ_FAIL_SYSCALL("flock", errno, path);
    if (tries == LOCK_TRIES) {
      fail(Code::FAILED_PRECONDITION, "another belayd uses ", root,
           " (it holds belayd.lock there): stop it, or give another --root");
    }
    usleep(LOCK_PAUSE_US);
  }
  return file;
}

void raiseFileLimit() {
  rlimit limit;
  KJ_SYSCALL(getrlimit(RLIMIT_NOFILE, &limit));
  limit.rlim_cur = limit.rlim_max;
  KJ_SYSCALL(setrlimit(RLIMIT_NOFILE, &limit));
}

}  // namespace belay::supervisor
