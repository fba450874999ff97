// See remove-tree.h.
#include "snapshot/pull/remove-tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <kj/io.h>
#include <kj/vector.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace belay::snapshot {

namespace {

// A folder on the way down, and where its listing goes on once the child has been removed: starting
// over each time would pass all removed entries again, which makes wide trees quadratic.
struct Level {
  kj::String child;
  off_t next;
};

// Follows no link, and fails at a mount point (EXDEV): what is mounted there is none of the tree's.
kj::AutoCloseFd openFolder(int parentFd, kj::StringPtr name) {
  struct open_how how{};
  how.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  how.resolve = RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS;
  long fd;
  do {
    fd = syscall(SYS_openat2, parentFd, name.cStr(), &how, sizeof(how));
    // EAGAIN: a rename somewhere on the machine raced with "..", openat2(2).
  } while (fd < 0 && (errno == EAGAIN || errno == EINTR));
  if (fd < 0) KJ_FAIL_SYSCALL("openat2", errno, name);
  return kj::AutoCloseFd(static_cast<int>(fd));
}

// Unlinks what is no folder from the listing's current place on; returns the first folder it meets,
// null at the end.
kj::Maybe<Level> unlinkUpToFolder(int fd) {
  alignas(struct dirent64) char buffer[32 * 1024];
  for (;;) {
    ssize_t n;
    KJ_SYSCALL(n = getdents64(fd, buffer, sizeof(buffer)));
    if (n == 0) return nullptr;
    for (ssize_t at = 0; at < n;) {
      auto entry = reinterpret_cast<struct dirent64*>(buffer + at);
      at += entry->d_reclen;
      if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
      // EISDIR says folder without a stat for each file.
      if (entry->d_type != DT_DIR && unlinkat(fd, entry->d_name, 0) == 0) continue;
      KJ_REQUIRE(entry->d_type == DT_DIR || errno == EISDIR, "unlinkat", strerror(errno));
      return Level{kj::heapString(entry->d_name), entry->d_off};
    }
  }
}

}  // namespace

void removeTree(int parentFd, kj::StringPtr name) {
  kj::Vector<Level> way;
  kj::AutoCloseFd current = openFolder(parentFd, name);
  for (;;) {
    KJ_IF_MAYBE (level, unlinkUpToFolder(current)) {
      current = openFolder(current, level->child);
      way.add(kj::mv(*level));
      continue;
    }
    if (way.size() == 0) break;
    // ".." is where we came from, since nobody else moves folders about.
    current = openFolder(current, "..");
    KJ_SYSCALL(unlinkat(current, way.back().child.cStr(), AT_REMOVEDIR), way.back().child);
    KJ_SYSCALL(lseek(current, way.back().next, SEEK_SET));
    way.removeLast();
  }
  KJ_SYSCALL(unlinkat(parentFd, name.cStr(), AT_REMOVEDIR), name);
}

}  // namespace belay::snapshot
