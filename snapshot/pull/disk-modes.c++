// See disk-modes.h.
#include "snapshot/pull/disk-modes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <kj/io.h>
#include <kj/map.h>
#include <kj/vector.h>
#include <linux/capability.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "snapshot/confine/privileges.h"
#include "snapshot/pull/confine.h"
#include "snapshot/pull/remove-tree.h"
#include "snapshot/pull/report.h"

namespace belay::snapshot {

namespace {

constexpr int FOLDER_FD = 3;
constexpr int REPORT_FD = 4;

constexpr uint64_t MEMORY_BYTES = uint64_t{512} << 20;

// Of files with several links, whose inode numbers are remembered; further ones count at every
// link.
constexpr size_t MAX_REMEMBERED_INODES = 1'000'000;

constexpr uint64_t BLOCK_BYTES = 512;  // unit of st_blocks, stat(3type)

// A folder's listing in progress.
class Listing {
 public:
  explicit Listing(kj::AutoCloseFd fd) : stream(fdopendir(fd)) {
    if (stream == nullptr) KJ_FAIL_SYSCALL("fdopendir", errno);
    fd.release();
  }
  ~Listing() {
    if (stream != nullptr) closedir(stream);
  }
  Listing(Listing&& other) : stream(other.stream) { other.stream = nullptr; }
  Listing& operator=(Listing&&) = delete;

  int fd() const { return dirfd(stream); }

  // Null at the end; "." and ".." are left out. Valid until the next call.
  struct dirent* next() {
    for (;;) {
      errno = 0;
      struct dirent* entry = readdir(stream);
      if (entry == nullptr && errno != 0) KJ_FAIL_SYSCALL("readdir", errno);
      if (entry == nullptr) return nullptr;
      if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) return entry;
    }
  }

 private:
  DIR* stream;
};

// Opens a folder below another one, through no link and into no other file system. Null when it is
// no such folder (any more).
kj::Maybe<kj::AutoCloseFd> tryOpenFolder(int parent, const char* name) {
  struct open_how how{};
  how.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS;
  for (;;) {
    long fd = syscall(SYS_openat2, parent, name, &how, sizeof(how));
    if (fd >= 0) return kj::AutoCloseFd(static_cast<int>(fd));
    // EAGAIN: somebody renamed something somewhere; openat2(2).
    if (errno == EAGAIN || errno == EINTR) continue;
    if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP || errno == EXDEV) return nullptr;
    KJ_FAIL_SYSCALL("openat2", errno, name);
  }
}

void removeEntry(int folder, const char* name) {
  if (unlinkat(folder, name, 0) == 0) return;
  if (errno != EISDIR && errno != EPERM) KJ_FAIL_SYSCALL("unlinkat", errno, name);
  removeTree(folder, name);
}

class Measurement {
 public:
  explicit Measurement(unsigned maxDepth) : maxDepth(maxDepth) {}

  TreeSize run(int folder) {
    struct stat stats;
    KJ_SYSCALL(fstat(folder, &stats));
    count(stats);
    enter(kj::AutoCloseFd(KJ_ASSERT_NONNULL(tryOpenFolder(folder, "."))));
    while (!way.empty()) {
      struct dirent* entry = way.back().next();
      if (entry == nullptr) {
        way.removeLast();
      } else {
        visit(way.back().fd(), entry->d_name);
      }
    }
    return size;
  }

 private:
  unsigned maxDepth;
  TreeSize size;
  kj::Vector<Listing> way;  // from the top to where we are
  kj::HashSet<uint64_t> linked;

  void enter(kj::AutoCloseFd folder) { way.add(Listing(kj::mv(folder))); }

  void visit(int parent, const char* name) {
    struct stat stats;
    if (fstatat(parent, name, &stats, AT_SYMLINK_NOFOLLOW) < 0) return;  // it has vanished
    count(stats);
    if (!S_ISDIR(stats.st_mode) || way.size() >= maxDepth) return;
    KJ_IF_MAYBE (folder, tryOpenFolder(parent, name)) {
      enter(kj::mv(*folder));
    }
  }

  void count(const struct stat& stats) {
    if (!S_ISDIR(stats.st_mode) && stats.st_nlink > 1) {
      uint64_t inode = stats.st_ino;
      if (linked.contains(inode)) return;
      if (linked.size() < MAX_REMEMBERED_INODES) linked.insert(inode);
    }
    size.inodes += 1;
    size.bytes += stats.st_blocks * BLOCK_BYTES;
  }
};

void confineToDisk(CapabilityMask keep) {
  closeAllAbove(REPORT_FD);
  dropPrivileges(keep, FileOwner::ROOT);
  sealProcess(MEMORY_BYTES);
  dieWithParent();
}

}  // namespace

void removeContents(int folderFd) {
  kj::Maybe<kj::Exception> first;
  Listing listing(kj::AutoCloseFd(KJ_ASSERT_NONNULL(tryOpenFolder(folderFd, "."))));
  while (struct dirent* entry = listing.next()) {
    KJ_IF_MAYBE (exception,
                 kj::runCatchingExceptions([&]() { removeEntry(listing.fd(), entry->d_name); })) {
      if (first == nullptr) first = kj::mv(*exception);
    }
  }
  KJ_IF_MAYBE (exception, first) {
    kj::throwFatalException(kj::mv(*exception));
  }
}

TreeSize measureTree(int folderFd, unsigned maxDepth) {
  return Measurement(maxDepth).run(folderFd);
}

int removeMain() {
  return reportOutcome(REPORT_FD, []() -> kj::Maybe<kj::String> {
    confineToDisk(1 << CAP_DAC_OVERRIDE | 1 << CAP_FOWNER);
    removeContents(FOLDER_FD);
    return nullptr;
  });
}

int measureMain() {
  return reportOutcome(REPORT_FD, []() -> kj::Maybe<kj::String> {
    confineToDisk(1 << CAP_DAC_READ_SEARCH);
    // One descriptor for each level, and the few that are open anyhow.
    struct rlimit files{MAX_MEASURED_DEPTH + 64, MAX_MEASURED_DEPTH + 64};
    KJ_SYSCALL(setrlimit(RLIMIT_NOFILE, &files));
    TreeSize size = measureTree(FOLDER_FD);
    return kj::str("ok ", size.inodes, ' ', size.bytes);
  });
}

int syncMain() {
  return reportOutcome(REPORT_FD, []() -> kj::Maybe<kj::String> {
    confineToDisk(0);
    KJ_SYSCALL(syncfs(FOLDER_FD));
    return nullptr;
  });
}

}  // namespace belay::snapshot
