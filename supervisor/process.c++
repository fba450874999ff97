// See process.h.
#include "supervisor/process.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

#include "snapshot/failure.h"
#include "snapshot/sys/file.h"

namespace belay::supervisor {

namespace {

using snapshot::Code;
using snapshot::fail;

// The children of a belayd that has just died hold its lock until they execute their programs.
constexpr int LOCK_TRIES = 100;
constexpr useconds_t LOCK_PAUSE_US = 10'000;

// `what` is shared with another belayd unless `setting` is changed.
void lock(int fd, kj::StringPtr what, kj::StringPtr setting) {
  for (int tries = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; ++tries) {
    if (errno != EWOULDBLOCK) KJ_FAIL_SYSCALL("flock", errno, what);
    if (tries == LOCK_TRIES) {
      fail(Code::FAILED_PRECONDITION, "another belayd uses ", what, ": stop it, or give another --",
           setting);
    }
    usleep(LOCK_PAUSE_US);
  }
}

kj::AutoCloseFd lockFolder(kj::StringPtr path, mode_t mode, kj::StringPtr file,
                           kj::StringPtr setting) {
  kj::AutoCloseFd own;
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&] {
                 auto end = KJ_ASSERT_NONNULL(path.findLast('/'));
                 if (end > 0) snapshot::makeFolders(kj::str(path.slice(0, end)), 0755);
                 auto folder = snapshot::makeFolders(path, mode);
                 own = snapshot::openAt(folder, file, O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
               })) {
    fail(Code::FAILED_PRECONDITION, "cannot use --", setting, " ", path, ": ",
         exception->getDescription());
  }
  lock(own, path, setting);
  return own;
}

}  // namespace

void Locks::takeFolders(const Config& config) {
  // Their files have different names, for both may be one folder.
  if (root == nullptr) root = lockFolder(config.root, 0700, "belayd.lock", "root");
  if (state == nullptr) state = lockFolder(config.state, 0711, "state.lock", "state");
}

void Locks::takeCgroups(const Cgroups& own) {
  if (cgroups != nullptr) return;
  auto folder = own.openRoot();
  lock(folder, kj::str("the cgroup ", own.rootName()), "cgroup-root");
  cgroups = kj::mv(folder);
}

void raiseFileLimit() {
  rlimit limit;
  KJ_SYSCALL(getrlimit(RLIMIT_NOFILE, &limit));
  limit.rlim_cur = limit.rlim_max;
  KJ_SYSCALL(setrlimit(RLIMIT_NOFILE, &limit));
}

}  // namespace belay::supervisor
