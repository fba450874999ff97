// See staging-folder.h.
#include "snapshot/pull/staging-folder.h"

#include <errno.h>
#include <kj/debug.h>
#include <kj/vector.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "snapshot/pull/pull-error.h"
#include "snapshot/pull/remove-tree.h"

namespace belay::snapshot {

namespace {

int openat2InRoot(int root, kj::StringPtr path, uint64_t flags) {
  struct open_how how{};
  how.flags = flags | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  for (;;) {
    int fd = syscall(SYS_openat2, root, path.cStr(), &how, sizeof(how));
    if (fd >= 0 || (errno != EAGAIN && errno != EINTR)) return fd;
  }
}

}  // namespace

StagingFolder::StagingFolder(kj::AutoCloseFd root) : root(kj::mv(root)) {}

kj::Maybe<kj::AutoCloseFd> StagingFolder::tryResolve(kj::StringPtr path) {
  int fd = openat2InRoot(root, path == "" ? "."_kj : path, O_PATH | O_DIRECTORY);
  if (fd >= 0) return kj::AutoCloseFd(fd);
  int error = errno;
  if (error == ENOENT) return nullptr;
  failPull(FailureCode::INVALID, "the layer's folder ", oneLine(path, 256),
           " cannot be entered: ", strerror(error));
}

// Makes the missing folders on the way to `path`, which is not there. How much of the way is there
// is found by halving, and below the first new folder nothing needs to be looked up: a path of two
// thousand names costs as many steps, not their square.
void StagingFolder::makeMissing(kj::StringPtr path) {
  kj::Vector<size_t> ends;
  for (size_t i = 1; i <= path.size(); ++i) {
    if (i == path.size() || path[i] == '/') ends.add(i);
  }
  auto upTo = [&](size_t count) {
    return kj::heapString(path.slice(0, count == 0 ? 0 : ends[count - 1]));
  };
  size_t there = 0;
  size_t missing = ends.size();
  kj::AutoCloseFd parent;  // null: the root
  while (missing - there > 1) {
    size_t middle = there + (missing - there) / 2;
    KJ_IF_MAYBE (folder, tryResolve(upTo(middle))) {
      there = middle;
      parent = kj::mv(*folder);
    } else {
      missing = middle;
    }
  }
  for (; there < ends.size(); ++there) {
    size_t begin = there == 0 ? 0 : ends[there - 1] + 1;
    kj::String name = kj::heapString(path.slice(begin, ends[there]));
    int parentFd = parent == nullptr ? root.get() : parent.get();
    if (mkdirat(parentFd, name.cStr(), 0755) < 0) {
      // EEXIST without being resolvable: a symbolic link whose target is not in this layer.
      failPull(FailureCode::INVALID, "the layer's folder ", oneLine(upTo(there + 1), 256),
               " cannot be made: ",
               errno == EEXIST ? "a symbolic link of the layer leads nowhere" : strerror(errno));
    }
    parent = openDirectory(parentFd, name);
  }
}

int StagingFolder::folder(kj::StringPtr path) {
  if (path == "") return root;
  if (lastPath == path) return lastFd;
  lastPath = nullptr;
  KJ_IF_MAYBE (existing, tryResolve(path)) {
    lastFd = kj::mv(*existing);
  } else {
    makeMissing(path);
    lastFd = KJ_REQUIRE_NONNULL(tryResolve(path), path);
  }
  lastPath = kj::heapString(path);
  return lastFd;
}

kj::Maybe<kj::AutoCloseFd> StagingFolder::tryOpen(kj::StringPtr path) const {
  constexpr int FLAGS = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
  int fd = openat2InRoot(root, path == "" ? "."_kj : path, FLAGS);
  if (fd >= 0) return kj::AutoCloseFd(fd);
  if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP) return nullptr;
  KJ_FAIL_SYSCALL("openat2", errno, oneLine(path, 256));
}

kj::AutoCloseFd StagingFolder::openDirectory(int folderFd, kj::StringPtr name) {
  int fd;
  KJ_SYSCALL(fd = openat(folderFd, name.cStr(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC),
             name);
  return kj::AutoCloseFd(fd);
}

kj::Maybe<struct stat> StagingFolder::status(int folderFd, kj::StringPtr name) {
  struct stat result;
  if (fstatat(folderFd, name.cStr(), &result, AT_SYMLINK_NOFOLLOW) == 0) return result;
  if (errno == ENOENT) return nullptr;
  KJ_FAIL_SYSCALL("fstatat", errno, name);
}

void StagingFolder::remove(int folderFd, kj::StringPtr name) {
  KJ_IF_MAYBE (existing, status(folderFd, name)) {
    if (S_ISDIR(existing->st_mode)) {
      removeTree(folderFd, name);
    } else {
      KJ_SYSCALL(unlinkat(folderFd, name.cStr(), 0), name);
    }
    // What was removed may have led to the remembered folder: the next look-up is afresh. Its
    // descriptor stays, for the caller works with it.
    lastPath = nullptr;
  }
}

}  // namespace belay::snapshot
