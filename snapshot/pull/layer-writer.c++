// See layer-writer.h.
#include "snapshot/pull/layer-writer.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "snapshot/pull/layer-path.h"
#include "snapshot/pull/pipe-io.h"
#include "snapshot/pull/pull-error.h"

namespace belay::snapshot {

namespace {

constexpr mode_t PERMISSIONS = 0777;
constexpr mode_t SPECIAL_BITS = 07000;

bool isWhiteout(const struct stat& status) {
  return S_ISCHR(status.st_mode) && status.st_rdev == makedev(0, 0);
}

// Whether an extended attribute from a layer is kept.
bool isKept(kj::StringPtr name) {
  if (name == "security.capability") return true;
  return name.startsWith("user.") && !name.startsWith("user.overlay.");
}

struct timespec accessNow() {
  return {0, UTIME_NOW};
}

void setTimes(int fd, const TarEntry& entry) {
  struct timespec times[2] = {accessNow(), entry.mtime};
  KJ_SYSCALL(futimens(fd, times));
}

}  // namespace

LayerWriter::LayerWriter(kj::AutoCloseFd root, LayerLimits limits)
    : staging(kj::mv(root)),
      limits(limits),
      // These calls change nothing for an impossible id and return what holds.
      createdUid(setfsuid(-1)),
      createdGid(setfsgid(-1)) {}

void LayerWriter::add(const TarEntry& entry, TarReader& reader) {
  byteCount += entry.sizeBytes;
  if (++entryCount > limits.entries || byteCount > limits.contentBytes) {
    failPull(FailureCode::INVALID, "the layer has more than ", limits.entries, " entries or ",
             limits.contentBytes, " bytes");
  }
  kj::String path = normalLayerPath(entry.path);
  if (path == "") {
    // The root itself. A link or a file in its place can only be meant badly.
    if (entry.type != TarType::DIRECTORY) {
      failPull(FailureCode::INVALID, "the layer's root is no folder");
    }
    setFolderAttributes(StagingFolder::openDirectory(staging.rootFd(), "."), entry, path);
    return;
  }
  SplitPath split = splitLayerPath(path);
  Whiteout whiteout = classifyName(split.name);
  if (whiteout.kind == WhiteoutKind::IGNORED) return;
  int parent = staging.folder(split.folder);
  switch (whiteout.kind) {
    case WhiteoutKind::OPAQUE:
      return makeOpaque(StagingFolder::openDirectory(parent, "."));
    case WhiteoutKind::NAME:
      return addWhiteout(parent, whiteout.hidden);
    default:
      break;
  }
  switch (entry.type) {
    case TarType::DIRECTORY:
      return addFolder(entry, path, parent, split.name);
    case TarType::FILE:
      return addFile(entry, reader, parent, split.name);
    case TarType::HARD_LINK:
      return addHardLink(entry, path, parent, split.name);
    case TarType::SYMLINK:
      return addSymlink(entry, parent, split.name);
    case TarType::CHARACTER_DEVICE:
    case TarType::BLOCK_DEVICE:
    case TarType::FIFO:
      return addNode(entry, parent, split.name);
  }
}

void LayerWriter::addFolder(const TarEntry& entry, kj::StringPtr path, int parent,
                            kj::StringPtr name) {
  bool opaque = false;
  if (mkdirat(parent, name.cStr(), entry.mode & PERMISSIONS) < 0) {
    KJ_REQUIRE(errno == EEXIST, "mkdirat", strerror(errno));
    auto existing = KJ_REQUIRE_NONNULL(StagingFolder::status(parent, name));
    if (!S_ISDIR(existing.st_mode)) {
      // The whiteout hid the lower layers' folder of this name; the new one must go on hiding it.
      opaque = isWhiteout(existing);
      staging.remove(parent, name);
      KJ_SYSCALL(mkdirat(parent, name.cStr(), entry.mode & PERMISSIONS));
    }
  }
  kj::AutoCloseFd fd = StagingFolder::openDirectory(parent, name);
  if (opaque) makeOpaque(fd);
  setFolderAttributes(fd, entry, path);
}

void LayerWriter::addFile(const TarEntry& entry, TarReader& reader, int parent,
                          kj::StringPtr name) {
  constexpr int FLAGS = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  mode_t mode = entry.mode & PERMISSIONS;
  int rawFd = openat(parent, name.cStr(), FLAGS, mode);
  if (rawFd < 0 && errno == EEXIST) {
    staging.remove(parent, name);
    rawFd = openat(parent, name.cStr(), FLAGS, mode);
  }
  if (rawFd < 0) KJ_FAIL_SYSCALL("openat", errno);
  kj::AutoCloseFd fd(rawFd);
  for (auto bytes = reader.content(); bytes.size() > 0; bytes = reader.content()) {
    writeAll(fd, bytes);
  }
  // chown clears setuid bits and file capabilities, so it comes before them; writing and the other
  // attributes change the time, so that is last.
  setOwner(fd, entry);
  if (entry.mode & SPECIAL_BITS) {
    KJ_SYSCALL(fchmod(fd, entry.mode));
  }
  setXattrs(fd, entry);
  setTimes(fd, entry);
}

void LayerWriter::addHardLink(const TarEntry& entry, kj::StringPtr path, int parent,
                              kj::StringPtr name) {
  kj::String target = normalLayerPath(entry.linkTarget);
  if (target == path) return;
  SplitPath split = splitLayerPath(target);
  // Looking up the target's folder ends the validity of `parent`.
  int rawFd;
  KJ_SYSCALL(rawFd = fcntl(parent, F_DUPFD_CLOEXEC, 0));
  kj::AutoCloseFd parentFd(rawFd);
  int targetFolder = staging.folder(split.folder);
  if (StagingFolder::status(targetFolder, split.name) == nullptr) {
    failPull(FailureCode::INVALID, "the layer links ", oneLine(path, 256), " to ",
             oneLine(target, 256), ", which it does not have");
  }
  if (linkat(targetFolder, split.name.cStr(), parentFd, name.cStr(), 0) == 0) return;
  KJ_REQUIRE(errno == EEXIST, "linkat", strerror(errno));
  staging.remove(parentFd, name);
  KJ_SYSCALL(linkat(targetFolder, split.name.cStr(), parentFd, name.cStr(), 0));
}

void LayerWriter::addSymlink(const TarEntry& entry, int parent, kj::StringPtr name) {
  staging.remove(parent, name);
  KJ_SYSCALL(symlinkat(entry.linkTarget.cStr(), parent, name.cStr()));
  setOwnerAndTime(parent, name, entry);
}

void LayerWriter::addNode(const TarEntry& entry, int parent, kj::StringPtr name) {
  mode_t type = entry.type == TarType::FIFO               ? S_IFIFO
                : entry.type == TarType::CHARACTER_DEVICE ? S_IFCHR
                                                          : S_IFBLK;
  dev_t device = type == S_IFIFO ? 0 : makedev(entry.deviceMajor, entry.deviceMinor);
  if (type != S_IFIFO && device == makedev(0, 0)) {
    failPull(FailureCode::INVALID, "the layer has a device 0:0");
  }
  staging.remove(parent, name);
  KJ_SYSCALL(mknodat(parent, name.cStr(), type | (entry.mode & PERMISSIONS), device));
  setOwnerAndTime(parent, name, entry);
}

void LayerWriter::addWhiteout(int parent, kj::StringPtr name) {
  KJ_IF_MAYBE (existing, StagingFolder::status(parent, name)) {
    if (S_ISDIR(existing->st_mode)) makeOpaque(StagingFolder::openDirectory(parent, name));
    return;
  }
  KJ_SYSCALL(mknodat(parent, name.cStr(), S_IFCHR, makedev(0, 0)), name);
}

void LayerWriter::setOwner(int fd, const TarEntry& entry) {
  if (entry.uid == createdUid && entry.gid == createdGid) return;
  KJ_SYSCALL(fchown(fd, entry.uid, entry.gid));
}

void LayerWriter::setOwnerAndTime(int parent, kj::StringPtr name, const TarEntry& entry) {
  if (entry.uid != createdUid || entry.gid != createdGid) {
    KJ_SYSCALL(fchownat(parent, name.cStr(), entry.uid, entry.gid, AT_SYMLINK_NOFOLLOW));
  }
  struct timespec times[2] = {accessNow(), entry.mtime};
  KJ_SYSCALL(utimensat(parent, name.cStr(), times, AT_SYMLINK_NOFOLLOW));
}

void LayerWriter::setXattrs(int fd, const TarEntry& entry) {
  for (auto& xattr : entry.xattrs) {
    if (!isKept(xattr.name)) continue;
    if (fsetxattr(fd, xattr.name.cStr(), xattr.value.begin(), xattr.value.size(), 0) == 0) continue;
    // A file system may lack user attributes, and most images do without them. A missing capability
    // would break a program in ways nobody understands.
    if (errno == EOPNOTSUPP && xattr.name.startsWith("user.")) continue;
    KJ_FAIL_SYSCALL("fsetxattr", errno, oneLine(xattr.name, 64));
  }
}

void LayerWriter::setFolderAttributes(int fd, const TarEntry& entry, kj::StringPtr path) {
  // The folder may have been there before, with another owner and mode.
  KJ_SYSCALL(fchown(fd, entry.uid, entry.gid));
  KJ_SYSCALL(fchmod(fd, entry.mode));
  setXattrs(fd, entry);
  folderNameBytes += path.size();
  if (folderNameBytes > limits.folderNameBytes) {
    failPull(FailureCode::INVALID, "the names of the layer's folders exceed ",
             limits.folderNameBytes, " bytes");
  }
  folderTimes[std::string(path.begin(), path.size())] = entry.mtime;
}

void LayerWriter::makeOpaque(int fd) {
  KJ_SYSCALL(fsetxattr(fd, "user.overlay.opaque", "y", 1, 0));
}

void LayerWriter::finish() {
  // In the order of names, so a folder comes before its content and the lookup stays short.
  for (auto& [path, time] : folderTimes) {
    KJ_IF_MAYBE (fd, staging.tryOpen(kj::StringPtr(path.c_str(), path.size()))) {
      struct timespec times[2] = {accessNow(), time};
      KJ_SYSCALL(futimens(*fd, times), oneLine(path.c_str(), 256));
    }
  }
}

}  // namespace belay::snapshot
