// See pod-folders.h.
#include "supervisor/pod-folders.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <limits.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot/failure.h"
#include "snapshot/sys/file.h"
#include "supervisor/text-file.h"

namespace belay::supervisor {

namespace {

using snapshot::Code;
using snapshot::fail;

// A pod's record with a thousand containers is well below.
constexpr size_t MAX_RECORD_BYTES = 64 << 20;
constexpr int MAX_DEPTH = 16;

bool isId(kj::StringPtr name) {
  return name.size() > 0 && name.findFirst('/') == nullptr && name[0] != '.';
}

// Only root writes here, so no race is to be feared; yet nothing follows a link.
void removeContents(int folder, int depth) {
  KJ_REQUIRE(depth < MAX_DEPTH, "a pod's folder is nested too deep to be one of ours");
  int copy;
  KJ_SYSCALL(copy = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  DIR* listing = fdopendir(copy);
  if (listing == nullptr) {
    close(copy);
    KJ_FAIL_SYSCALL("fdopendir", errno);
  }
  KJ_DEFER(closedir(listing));
  while (dirent* entry = readdir(listing)) {
    kj::StringPtr name = entry->d_name;
    if (name == "." || name == "..") continue;
    int flags = 0;
    if (entry->d_type == DT_DIR) {
      flags = AT_REMOVEDIR;
      int child;
      KJ_SYSCALL(
          child = openat(folder, name.cStr(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC),
          name);
      kj::AutoCloseFd own(child);
      removeContents(own, depth + 1);
    }
    KJ_SYSCALL(unlinkat(folder, name.cStr(), flags), name);
  }
}

// "\040" and its kind in mountinfo's paths (proc(5)).
kj::String unescapeMountPath(kj::StringPtr text) {
  kj::Vector<char> out(text.size() + 1);
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      out.add(static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                                (text[i + 3] - '0')));
      i += 3;
    } else {
      out.add(text[i]);
    }
  }
  out.add('\0');
  return kj::String(out.releaseAsArray());
}

// As mountinfo says it: without symbolic links, such as /var/run.
kj::String realPathOf(int folder) {
  char buffer[PATH_MAX];
  ssize_t size;
  KJ_SYSCALL(size = readlink(kj::str("/proc/self/fd/", folder).cStr(), buffer, sizeof(buffer)));
  return kj::heapString(buffer, size);
}

void unmountBelow(int folder) {
  auto prefix = kj::str(realPathOf(folder), '/');
  auto mounts = readTextFile("/proc/self/mountinfo", 64 << 20);
  auto lines = splitText(mounts, '\n');
  // The newest first: mounts upon mounts.
  for (size_t i = lines.size(); i-- > 0;) {
    auto fields = splitText(lines[i], ' ');
    if (fields.size() < 5) continue;
    auto point = unescapeMountPath(fields[4]);
    if (!point.startsWith(prefix)) continue;
    KJ_SYSCALL_HANDLE_ERRORS(umount2(point.cStr(), MNT_DETACH | UMOUNT_NOFOLLOW)) {
      case EINVAL:
      case ENOENT:
        break;
      default:
        KJ_FAIL_SYSCALL("umount", error, point);
    }
  }
}

}  // namespace

PodFolders::PodFolders(kj::StringPtr state) : path(kj::str(state, "/pods")) {
  snapshot::makeFolders(state, 0711);
  folder = snapshot::makeFolders(path, 0700);
}

kj::AutoCloseFd PodFolders::make(kj::StringPtr id) {
  KJ_REQUIRE(isId(id));
  KJ_SYSCALL_HANDLE_ERRORS(mkdirat(folder, id.cStr(), 0700)) {
    case EEXIST:
      fail(Code::ALREADY_EXISTS, "the pod's folder ", pathOf(id), " is there already");
    default:
      KJ_FAIL_SYSCALL("mkdirat", error, pathOf(id));
  }
  return KJ_ASSERT_NONNULL(open(id));
}

kj::Maybe<kj::AutoCloseFd> PodFolders::open(kj::StringPtr id) {
  KJ_REQUIRE(isId(id));
  int fd;
  KJ_SYSCALL_HANDLE_ERRORS(
      fd = openat(folder, id.cStr(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) {
    case ENOENT:
      return nullptr;
    default:
      KJ_FAIL_SYSCALL("open the pod's folder", error, pathOf(id));
  }
  return kj::AutoCloseFd(fd);
}

kj::String PodFolders::pathOf(kj::StringPtr id) const {
  return kj::str(path, '/', id);
}

kj::Array<kj::String> PodFolders::list() {
  kj::Vector<kj::String> ids;
  int copy;
  KJ_SYSCALL(copy = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  DIR* listing = fdopendir(copy);
  if (listing == nullptr) {
    close(copy);
    KJ_FAIL_SYSCALL("fdopendir", errno);
  }
  KJ_DEFER(closedir(listing));
  while (dirent* entry = readdir(listing)) {
    kj::StringPtr name = entry->d_name;
    if (entry->d_type == DT_DIR && isId(name)) ids.add(kj::str(name));
  }
  return ids.releaseAsArray();
}

void PodFolders::remove(kj::StringPtr id) {
  KJ_IF_MAYBE (pod, open(id)) {
    unmountBelow(*pod);
    removeContents(*pod, 0);
    KJ_SYSCALL(unlinkat(folder, id.cStr(), AT_REMOVEDIR), pathOf(id));
  }
}

kj::Maybe<Owned<shim::ShimRecord>> PodFolders::record(kj::StringPtr id) {
  KJ_IF_MAYBE (pod, open(id)) {
    kj::Maybe<Owned<shim::ShimRecord>> result;
    // A shim that died before it made its pod wrote none.
    if (faccessat(*pod, "state", F_OK, AT_SYMLINK_NOFOLLOW) != 0) return nullptr;
    auto exception = kj::runCatchingExceptions([&] {
      auto text = readTextFileAt(*pod, "state", MAX_RECORD_BYTES);
      result = Owned<shim::ShimRecord>::fromBytes(text.asBytes());
    });
    KJ_IF_MAYBE (e, exception) {
      KJ_LOG(WARNING, "a dead shim's record cannot be read", id, e->getDescription());
    }
    return result;
  }
  return nullptr;
}

void removePin(kj::StringPtr path) {
  KJ_SYSCALL_HANDLE_ERRORS(umount2(path.cStr(), MNT_DETACH | UMOUNT_NOFOLLOW)) {
    case EINVAL:
    case ENOENT:
      break;
    default:
      KJ_FAIL_SYSCALL("umount", error, path);
  }
  KJ_SYSCALL_HANDLE_ERRORS(unlink(path.cStr())) {
    case ENOENT:
      break;
    default:
      KJ_FAIL_SYSCALL("unlink", error, path);
  }
}

}  // namespace belay::supervisor
