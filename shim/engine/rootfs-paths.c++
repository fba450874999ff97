// Paths inside a container's rootfs.
#include "shim/engine/rootfs-paths.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

#include "shim/sys/path.h"

namespace belay::shim {
namespace {

constexpr const char* STEP = "make the mount point";

// As many links as the kernel follows in one path is plenty; a dangling chain is rare.
constexpr int MAX_DANGLING_LINKS = 8;

uint64_t resolveFlags(Links links) {
  return links == Links::REFUSE ? RESOLVE_NO_SYMLINKS : 0;
}

// Puts what the dangling link `name` in `parent` points to in place of the link: `path` becomes
// "<target><rest>" or, for a relative target, "<directory>/<target><rest>".
bool replaceLink(int parent, const char* name, size_t directoryLength, const char* rest,
                 char (&path)[PATH_MAX]) {
  char target[PATH_MAX];
  ssize_t length = readlinkat(parent, name, target, sizeof(target));
  if (length <= 0) return false;
  size_t prefix = target[0] == '/' ? 0 : directoryLength + 1;
  size_t restLength = strlen(rest);
  if (prefix + length + restLength + 1 > sizeof(path)) return false;
  // `rest` lies in `path` itself: it moves first.
  memmove(path + prefix + length, rest, restLength + 1);
  memcpy(path + prefix, target, length);
  return true;
}

// One walk along `path`, making what is absent. Answers the descriptor, or -1 after a dangling link
// was replaced in `path`: then walk again.
int walk(const Reporter& reporter, int root, char (&path)[PATH_MAX], MountPointKind kind,
         Links links) {
  int parent = sys::openInRoot(root, "/", O_PATH | O_DIRECTORY);
  if (parent < 0) reporter.fail(STEP, path, errno);
  char* start = path;
  for (;;) {
    while (*start == '/')
      ++start;
    if (*start == '\0') return parent;
    char* end = start + strcspn(start, "/");
    char* more = end + strspn(end, "/");
    bool last = *more == '\0';
    bool directory = !last || kind == MountPointKind::DIRECTORY;

    // The whole prefix is resolved from the root each time, so that ".." and links stay inside.
    char separator = *end;
    *end = '\0';
    uint64_t flags = O_PATH | (directory ? O_DIRECTORY : 0);
    int next = sys::openInRoot(root, path, flags, 0, resolveFlags(links));
    if (next < 0 && errno == ENOENT) {
      int made = directory ? mkdirat(parent, start, 0755)
                           : openat(parent, start, O_CREAT | O_EXCL | O_CLOEXEC, 0644);
      if (made < 0 && errno != EEXIST) reporter.fail(STEP, path, errno);
      if (made > 0) close(made);
      next = sys::openInRoot(root, path, flags, 0, resolveFlags(links));
      if (next < 0 && errno == ENOENT && links == Links::FOLLOW) {
        size_t directoryLength = start == path ? 0 : start - path - 1;
        char name[NAME_MAX + 1];
        if (end - start > NAME_MAX) reporter.fail(STEP, path, ENAMETOOLONG);
        memcpy(name, start, end - start + 1);
        *end = separator;
        if (!replaceLink(parent, name, directoryLength, end, path)) {
          reporter.fail(STEP, path, ENOENT, "a symbolic link that points nowhere");
        }
        close(parent);
        return -1;
      }
    }
    if (next < 0) {
      reporter.fail(STEP, path, errno,
                    errno == ELOOP ? "symbolic links are not followed here" : "");
    }
    *end = separator;
    close(parent);
    parent = next;
    start = more;
    if (last) return parent;
  }
}

void copyPath(const Reporter& reporter, char (&to)[PATH_MAX], const char* path) {
  size_t length = strlen(path);
  if (length >= sizeof(to)) reporter.fail(STEP, path, ENAMETOOLONG);
  memcpy(to, path, length + 1);
}

int walkFollowing(const Reporter& reporter, int root, char (&path)[PATH_MAX], MountPointKind kind,
                  Links links) {
  for (int tries = 0; tries < MAX_DANGLING_LINKS; ++tries) {
    int fd = walk(reporter, root, path, kind, links);
    if (fd >= 0) return fd;
  }
  reporter.fail(STEP, path, ELOOP);
}

}  // namespace

bool isAtOrBelow(const char* path, const char* directory) {
  size_t length = strlen(directory);
  return strncmp(path, directory, length) == 0 && (path[length] == '\0' || path[length] == '/');
}

Links linksFor(const char* destination) {
  bool kernels = isAtOrBelow(destination, "/proc") || isAtOrBelow(destination, "/sys") ||
                 isAtOrBelow(destination, "/dev");
  return kernels ? Links::REFUSE : Links::FOLLOW;
}

int openOrMake(const Reporter& reporter, int root, const char* path, MountPointKind kind,
               Links links) {
  int fd = sys::openInRoot(root, path, O_PATH, 0, resolveFlags(links));
  if (fd >= 0) return fd;
  char buffer[PATH_MAX];
  copyPath(reporter, buffer, path);
  return walkFollowing(reporter, root, buffer, kind, links);
}

int openOrMakeParent(const Reporter& reporter, int root, const char* path, Links links,
                     const char*& name) {
  char buffer[PATH_MAX];
  copyPath(reporter, buffer, path);
  char* slash = strrchr(buffer, '/');
  if (slash == nullptr || slash[1] == '\0') reporter.fail(STEP, path, EINVAL);
  *slash = '\0';
  name = path + (slash - buffer) + 1;
  return walkFollowing(reporter, root, buffer, MountPointKind::DIRECTORY, links);
}

}  // namespace belay::shim
