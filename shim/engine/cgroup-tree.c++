// Directories of one cgroup hierarchy.
#include "shim/engine/cgroup-tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim/engine/text-file.h"

namespace belay::shim {
namespace {

using Hierarchy = CgroupHierarchies::Hierarchy;

// A container may nest cgroups in its own; the kernel's limit is far above.
constexpr int MAX_DEPTH = 64;

bool hasController(const Hierarchy& hierarchy, kj::StringPtr controller) {
  for (auto& name : hierarchy.controllers) {
    if (name == controller) return true;
  }
  return false;
}

kj::String parentOf(kj::StringPtr path) {
  KJ_IF_MAYBE (slash, path.findLast('/')) {
    return kj::heapString(path.slice(0, *slash));
  }
  return kj::str(".");
}

kj::StringPtr withoutNewline(kj::String& text) {
  if (text.endsWith("\n")) text[text.size() - 1] = '\0';
  return text.cStr();
}

void inheritCpuset(const Hierarchy& hierarchy, kj::StringPtr path) {
  for (auto file : {"cpuset.cpus"_kj, "cpuset.mems"_kj}) {
    auto value = readTextFile(hierarchy.root, kj::str(parentOf(path), "/", file));
    writeTextFile(hierarchy.root, kj::str(path, "/", file), withoutNewline(value));
  }
}

// A hybrid layout's twin serves to kill and to count, for which no controller is needed.
void giveControllersToChildren(const Hierarchy& hierarchy, kj::StringPtr parent) {
  auto file = kj::str(parent, "/cgroup.subtree_control");
  auto all = kj::strArray(KJ_MAP(name, hierarchy.controllers) { return kj::str("+", name); }, " ");
  // All or none is given by one write; usually they have been given before.
  if (tryWriteTextFile(hierarchy.root, file, all) == 0) return;
  for (auto& controller : hierarchy.controllers) {
    int error = tryWriteTextFile(hierarchy.root, file, kj::str("+", controller));
    // A controller that cannot be given (cpu while real-time tasks run, a threaded parent) is
    // missed when a limit of it is written, with its name.
    if (error == EBUSY || error == EINVAL || error == EOPNOTSUPP) continue;
    if (error != 0) KJ_FAIL_SYSCALL("write cgroup.subtree_control", error, parent, controller);
  }
}

bool isV2Alone(const Hierarchy& hierarchy) {
  return hierarchy.version == Hierarchy::Version::V2 && hasController(hierarchy, "memory");
}

// Calls `each` with the name of every child directory.
template <typename Function>
void eachChild(int root, kj::StringPtr path, Function&& each) {
  int fd = openat(root, path.cStr(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT) return;
  KJ_REQUIRE(fd >= 0, "Cannot list the cgroup.", path, strerror(errno));
  DIR* directory = fdopendir(fd);
  KJ_DEFER(closedir(directory));
  while (struct dirent* entry = readdir(directory)) {
    kj::StringPtr name = entry->d_name;
    if (entry->d_type == DT_DIR && name != "." && name != "..") each(name);
  }
}

void collectPids(int root, kj::StringPtr path, size_t limit, int depth, kj::Vector<pid_t>& pids) {
  // ENODEV and EOPNOTSUPP: removed meanwhile; a threaded cgroup, whose processes its parent lists.
  int fd = openat(root, kj::str(path, "/cgroup.procs").cStr(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  {
    kj::AutoCloseFd file(fd);
    FILE* lines = fdopen(file.release(), "re");
    KJ_DEFER(fclose(lines));
    int pid;
    while (pids.size() < limit && fscanf(lines, "%d", &pid) == 1)
      pids.add(pid);
  }
  if (pids.size() >= limit || depth >= MAX_DEPTH) return;
  eachChild(root, path, [&](kj::StringPtr name) {
    collectPids(root, kj::str(path, "/", name), limit, depth + 1, pids);
  });
}

void removeTree(int root, kj::StringPtr path, int depth) {
  if (unlinkat(root, path.cStr(), AT_REMOVEDIR) == 0 || errno == ENOENT) return;
  // EBUSY is said of children and of processes alike.
  KJ_REQUIRE(errno == EBUSY && depth < MAX_DEPTH, "Cannot remove the cgroup.", path,
             strerror(errno));
  eachChild(root, path,
            [&](kj::StringPtr name) { removeTree(root, kj::str(path, "/", name), depth + 1); });
  KJ_SYSCALL_HANDLE_ERRORS(unlinkat(root, path.cStr(), AT_REMOVEDIR)) {
    case ENOENT:
      break;
    default:
      KJ_FAIL_SYSCALL("rmdir", error, path);
  }
}

}  // namespace

CgroupMaker::~CgroupMaker() noexcept(false) {
  for (size_t i = made.size(); i > 0; --i) {
    unlinkat(made[i - 1].root, made[i - 1].path.cStr(), AT_REMOVEDIR);
  }
}

bool CgroupMaker::makeOne(const Hierarchy& hierarchy, kj::StringPtr path) {
  KJ_SYSCALL_HANDLE_ERRORS(mkdirat(hierarchy.root, path.cStr(), 0755)) {
    case EEXIST:
      return true;
    case ENOENT:
      return false;
    default:
      KJ_FAIL_SYSCALL("mkdir", error, hierarchy.mountPoint, path);
  }
  made.add(Made{hierarchy.root, kj::str(path)});
  if (hasController(hierarchy, "cpuset") && hierarchy.version == Hierarchy::Version::V1) {
    inheritCpuset(hierarchy, path);
  }
  return true;
}

void CgroupMaker::make(const Hierarchy& hierarchy, kj::StringPtr path) {
  auto relative = path.slice(1);
  // Usually only the last directory is missing.
  if (!isV2Alone(hierarchy) && makeOne(hierarchy, relative)) return;
  for (size_t i = 0; i <= relative.size(); ++i) {
    if (i < relative.size() && relative[i] != '/') continue;
    auto prefix = kj::heapString(relative.slice(0, i));
    if (isV2Alone(hierarchy)) giveControllersToChildren(hierarchy, parentOf(prefix));
    KJ_REQUIRE(makeOne(hierarchy, prefix), "A parent cgroup vanished.", prefix);
  }
}

void CgroupMaker::makePlain(const Hierarchy& hierarchy, kj::StringPtr path) {
  KJ_REQUIRE(makeOne(hierarchy, path.slice(1)), "The parent of the cgroup is gone.", path);
}

kj::Vector<pid_t> pidsInCgroupTree(int root, kj::StringPtr path, size_t limit) {
  kj::Vector<pid_t> pids;
  collectPids(root, path, limit, 0, pids);
  return pids;
}

kj::Vector<kj::String> childrenInCgroupTree(int root, kj::StringPtr path) {
  kj::Vector<kj::String> names;
  eachChild(root, path, [&](kj::StringPtr name) { names.add(kj::str(name)); });
  return names;
}

void removeCgroupTree(int root, kj::StringPtr path) {
  removeTree(root, path, 0);
}

}  // namespace belay::shim
