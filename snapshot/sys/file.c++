// See file.h.
#include "snapshot/sys/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "snapshot/failure.h"

namespace belay::snapshot {

kj::AutoCloseFd openAt(int folder, kj::StringPtr name, int flags, mode_t mode) {
  int fd;
  KJ_SYSCALL(fd = openat(folder, name.cStr(), flags | O_CLOEXEC, mode), name);
  return kj::AutoCloseFd(fd);
}

kj::Maybe<kj::AutoCloseFd> tryOpenAt(int folder, kj::StringPtr name, int flags, mode_t mode) {
  int fd;
  KJ_SYSCALL_HANDLE_ERRORS(fd = openat(folder, name.cStr(), flags | O_CLOEXEC, mode)) {
    case ENOENT:
    case ENOTDIR:
      return nullptr;
    default:
      KJ_FAIL_SYSCALL("openat", error, name);
  }
  return kj::AutoCloseFd(fd);
}

kj::AutoCloseFd makeFolder(int parent, kj::StringPtr name, mode_t mode) {
  KJ_SYSCALL_HANDLE_ERRORS(mkdirat(parent, name.cStr(), mode)) {
    case EEXIST:
      break;
    default:
      KJ_FAIL_SYSCALL("mkdirat", error, name);
  }
  return openAt(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
}

kj::AutoCloseFd makeFolders(kj::StringPtr path, mode_t mode) {
  KJ_REQUIRE(path.startsWith("/"), "an absolute path is wanted", path);
  for (size_t end = 1; end <= path.size(); ++end) {
    if (end < path.size() && path[end] != '/') continue;
    auto part = kj::heapString(path.slice(0, end));
    KJ_SYSCALL_HANDLE_ERRORS(mkdir(part.cStr(), mode)) {
      case EEXIST:
        break;
      default:
        KJ_FAIL_SYSCALL("mkdir", error, part);
    }
  }
  return openAt(AT_FDCWD, path, O_RDONLY | O_DIRECTORY);
}

kj::Maybe<struct stat> tryStat(int folder, kj::StringPtr name) {
  struct stat stats;
  KJ_SYSCALL_HANDLE_ERRORS(fstatat(folder, name.cStr(), &stats, AT_SYMLINK_NOFOLLOW)) {
    case ENOENT:
    case ENOTDIR:
      return nullptr;
    default:
      KJ_FAIL_SYSCALL("fstatat", error, name);
  }
  return stats;
}

kj::Vector<kj::String> namesIn(int folder) {
  // A descriptor of its own, so that reading moves nobody else's position.
  kj::AutoCloseFd copy = openAt(folder, ".", O_RDONLY | O_DIRECTORY);
  DIR* stream = fdopendir(copy);
  if (stream == nullptr) KJ_FAIL_SYSCALL("fdopendir", errno);
  copy.release();
  KJ_DEFER(closedir(stream));
  kj::Vector<kj::String> result;
  for (;;) {
    errno = 0;
    struct dirent* entry = readdir(stream);
    if (entry == nullptr) {
      if (errno != 0) KJ_FAIL_SYSCALL("readdir", errno);
      return result;
    }
    kj::StringPtr name = entry->d_name;
    if (name != "." && name != "..") result.add(kj::str(name));
  }
}

kj::Maybe<kj::String> tryReadFile(int folder, kj::StringPtr name, size_t limitBytes) {
  KJ_IF_MAYBE (file, tryOpenAt(folder, name, O_RDONLY | O_NONBLOCK)) {
    struct stat stats;
    KJ_SYSCALL(fstat(*file, &stats), name);
    if (!S_ISREG(stats.st_mode)) fail(Code::FAILED_PRECONDITION, name, ": is no regular file");
    kj::FdInputStream stream(file->get());
    auto buffer = kj::heapArray<char>(limitBytes + 1);
    size_t size = stream.tryRead(buffer.begin(), buffer.size(), buffer.size());
    if (size > limitBytes) {
      fail(Code::FAILED_PRECONDITION, name, ": is longer than ", limitBytes, " bytes");
    }
    return kj::heapString(buffer.slice(0, size));
  }
  return nullptr;
}

void writeNewFile(int folder, kj::StringPtr name, kj::StringPtr contents, mode_t mode) {
  kj::AutoCloseFd file = openAt(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode);
  kj::FdOutputStream(file.get()).write(contents.begin(), contents.size());
}

bool isPlainName(kj::StringPtr name) {
  return name.size() > 0 && name.size() <= NAME_MAX && name[0] != '.' &&
         name.findFirst('/') == nullptr && strlen(name.cStr()) == name.size();
}

}  // namespace belay::snapshot
