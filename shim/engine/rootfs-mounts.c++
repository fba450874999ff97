// The mounts of a container's specification.
#include "shim/engine/rootfs-mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <cstring>

#include "shim/engine/rootfs-paths.h"
#include "shim/engine/rootfs-proc.h"
#include "shim/engine/rootfs-propagation.h"
#include "shim/sys/mounts.h"
#include "shim/sys/path.h"

namespace belay::shim {
namespace {

constexpr const char* SOURCE_STEP = "open the mount source";
constexpr const char* STEP = "mount";

uint64_t attributesOf(Mount::Reader mount) {
  uint64_t attributes = 0;
  if (mount.getReadonly() || mount.getRecursiveReadonly()) attributes |= MOUNT_ATTR_RDONLY;
  if (mount.getNoexec()) attributes |= MOUNT_ATTR_NOEXEC;
  if (mount.getNosuid()) attributes |= MOUNT_ATTR_NOSUID;
  if (mount.getNodev()) attributes |= MOUNT_ATTR_NODEV;
  return attributes;
}

uint64_t propagationOf(Mount::Reader mount) {
  switch (mount.getPropagation()) {
    case Mount::Propagation::SLAVE:
      return MS_SLAVE;
    case Mount::Propagation::SHARED:
      return MS_SHARED;
    case Mount::Propagation::PRIVATE:
    default:
      return MS_PRIVATE;
  }
}

// Flags and propagation of a bind mount, while it is still detached: nobody can use it without
// them.
void changeBind(const Reporter& reporter, Mount::Reader mount, int tree, PodUsers users) {
  using sys::Recursion;
  bool recursive = mount.getKind().isBind() && mount.getKind().getBind().getRecursive();
  auto all = recursive ? Recursion::RECURSIVE : Recursion::THIS_MOUNT;
  uint64_t attributes = attributesOf(mount);
  if (sys::changeMount(tree, 0, 0, propagationOf(mount), all) < 0 ||
      (attributes != 0 && sys::changeMount(tree, attributes, 0, 0, Recursion::THIS_MOUNT) < 0) ||
      (mount.getRecursiveReadonly() &&
       sys::changeMount(tree, MOUNT_ATTR_RDONLY, 0, 0, Recursion::RECURSIVE) < 0)) {
    reporter.fail("set the flags of the mount", mount.getDestination().cStr(), errno);
  }
  if (mount.getIdMapped() && sys::mapIds(tree, users.userNamespace) < 0) {
    reporter.fail("map the ids of the mount", mount.getDestination().cStr(), errno,
                  errno == EINVAL ? "the file system of its source cannot do that" : "");
  }
}

MountPointKind kindOf(const Reporter& reporter, int tree, const char* object) {
  struct stat info;
  if (fstat(tree, &info) < 0) reporter.fail(SOURCE_STEP, object, errno);
  return S_ISDIR(info.st_mode) ? MountPointKind::DIRECTORY : MountPointKind::FILE;
}

struct NumberText {
  char text[24];

  explicit NumberText(uint64_t number, int base = 10) {
    *std::to_chars(text, text + sizeof(text) - 1, number, base).ptr = '\0';
  }
};

int newTmpfs(Mount::Reader mount) {
  auto tmpfs = mount.getKind().getTmpfs();
  NumberText size(tmpfs.getSizeBytes());
  NumberText mode(tmpfs.getMode(), 8);
  sys::MountOption options[2];
  size_t count = 0;
  if (tmpfs.getSizeBytes() > 0) options[count++] = {"size", size.text};
  if (tmpfs.getMode() > 0) options[count++] = {"mode", mode.text};
  return sys::newMount("tmpfs", options, count, attributesOf(mount));
}

// The group "tty" of every distribution, which grantpt(3) and wall(1) go by.
constexpr gid_t TTY_GROUP = 5;

int newDevpts(Mount::Reader mount, IdMapping ids) {
  NumberText group(ids.toHost(ids.has(TTY_GROUP) ? TTY_GROUP : 0));
  sys::MountOption options[] = {
      {"newinstance", nullptr}, {"ptmxmode", "0666"}, {"mode", "0620"}, {"gid", group.text}};
  return sys::newMount("devpts", options, 4, attributesOf(mount));
}

// What is there of the rootfs, or an empty folder: a mount of its own is not made read-only with
// it.
int copyOfRootfs(const Reporter& reporter, int root, const char* destination) {
  int folder =
      openOrMake(reporter, root, destination, MountPointKind::DIRECTORY, linksFor(destination));
  int tree = sys::cloneTree(folder, "", sys::Recursion::THIS_MOUNT);
  close(folder);
  return tree;
}

// Of a new IPC namespace its folder belongs to whom the namespace was made by: the host's root.
int newMqueue(Mount::Reader mount, PodUsers users) {
  int tree = sys::newMount("mqueue", nullptr, 0, attributesOf(mount));
  if (tree < 0 || !users.isOwn()) return tree;
  uint32_t root = users.ids.toHost(0);
  return fchownat(tree, "", root, root, AT_EMPTY_PATH) < 0 ? -1 : tree;
}

// Symbolic links lead where they lead on the host. The mount it is on is looked at before, for a
// copy would be shared with nobody.
int copySource(const Reporter& reporter, Mount::Reader mount, const char* source,
               sys::Recursion recursion) {
  int place = open(source, O_PATH | O_CLOEXEC);
  if (place < 0) reporter.fail(SOURCE_STEP, source, errno);
  requirePropagation(reporter, mount.getPropagation(), source, place);
  int tree = sys::cloneTree(place, "", recursion);
  if (tree < 0) reporter.fail(SOURCE_STEP, source, errno);
  close(place);
  return tree;
}

}  // namespace

RootfsMounts::RootfsMounts(ContainerSpec::Reader spec, const CgroupHierarchies& hierarchies,
                           PidPlan pids, bool hostIpc, PodUsers users)
    : mounts(spec.getMounts()),
      cgroups(hierarchies, spec.getCgroupPath()),
      trees(kj::heapArray<int>(mounts.size() + 1)),
      pids(pids),
      hostIpc(hostIpc),
      users(users) {
  for (auto& tree : trees)
    tree = -1;
}

bool RootfsMounts::hasOwnDev() const {
  for (auto mount : mounts) {
    if (mount.getKind().isTmpfs() && mount.getDestination() == "/dev") return true;
  }
  return false;
}

bool RootfsMounts::isLate(Mount::Reader mount) const {
  if (mount.getKind().isProc()) return true;
  for (auto other : mounts) {
    if (other.getKind().isProc() &&
        isAtOrBelow(mount.getDestination().cStr(), other.getDestination().cStr())) {
      return true;
    }
  }
  return false;
}

void RootfsMounts::openSources(const Reporter& reporter) {
  bool wantsCgroups = false;
  for (uint i = 0; i < mounts.size(); ++i) {
    auto mount = mounts[i];
    auto kind = mount.getKind();
    const char* source;
    auto recursion = sys::Recursion::THIS_MOUNT;
    if (kind.isBind()) {
      source = kind.getBind().getSource().cStr();
      if (source[0] != '/') reporter.fail(SOURCE_STEP, source, EINVAL, "the path is not absolute");
      if (kind.getBind().getRecursive()) recursion = sys::Recursion::RECURSIVE;
    } else if (kind.isShm()) {
      source = hostIpc ? "/dev/shm" : "shm";
    } else if (kind.isProc()) {
      trees[i] = copyProc(reporter, pids);
      if (trees[i] >= 0) {
        changeBind(reporter, mount, trees[i], users);
      } else if (users.isOwn() && trees.back() < 0) {
        trees.back() = copyHostsProc(reporter);
      }
      continue;
    } else {
      wantsCgroups = wantsCgroups || kind.isCgroup();
      continue;
    }
    trees[i] = copySource(reporter, mount, source, recursion);
    changeBind(reporter, mount, trees[i], users);
  }
  if (wantsCgroups) cgroups.open(reporter);
}

void RootfsMounts::attachEarly(const Reporter& reporter, int root) {
  for (uint i = 0; i < mounts.size(); ++i) {
    auto mount = mounts[i];
    const char* destination = mount.getDestination().cStr();
    if (destination[0] != '/' || destination[1] == '\0') {
      reporter.fail(STEP, destination, EINVAL, "not an absolute path below the root");
    }
    if (mount.getKind().isProc()) {
      close(openOrMake(reporter, root, destination, MountPointKind::DIRECTORY, Links::REFUSE));
    } else if (!isLate(mount)) {
      attachOne(reporter, mount, trees[i], root);
    }
  }
}

void RootfsMounts::attachLate(const Reporter& reporter) {
  int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) reporter.fail(STEP, "/", errno);
  for (uint i = 0; i < mounts.size(); ++i) {
    if (isLate(mounts[i])) attachOne(reporter, mounts[i], trees[i], root);
  }
  close(root);
}

void RootfsMounts::attachOne(const Reporter& reporter, Mount::Reader mount, int& tree, int root) {
  const char* destination = mount.getDestination().cStr();
  auto kind = mount.getKind();
  auto place = MountPointKind::DIRECTORY;
  auto links = linksFor(destination);
  switch (kind.which()) {
    case Mount::Kind::BIND:
    case Mount::Kind::SHM:
      place = kindOf(reporter, tree, destination);
      break;
    case Mount::Kind::TMPFS:
      tree = newTmpfs(mount);
      break;
    case Mount::Kind::PROC:
      links = Links::REFUSE;
      if (tree < 0) tree = newProc(reporter, trees.back(), attributesOf(mount));
      break;
    case Mount::Kind::SYSFS:
      links = Links::REFUSE;
      tree = sys::newMount("sysfs", nullptr, 0, attributesOf(mount));
      break;
    case Mount::Kind::DEVPTS:
      tree = newDevpts(mount, users.ids);
      break;
    case Mount::Kind::MQUEUE:
      tree = newMqueue(mount, users);
      break;
    case Mount::Kind::VOLUME:
      tree = copyOfRootfs(reporter, root, destination);
      break;
    case Mount::Kind::CGROUP: {
      int target = openOrMake(reporter, root, destination, place, Links::REFUSE);
      cgroups.attach(reporter, target, attributesOf(mount));
      close(target);
      return;
    }
  }
  if (tree < 0) reporter.fail(STEP, destination, errno);
  int target = openOrMake(reporter, root, destination, place, links);
  if (sys::attach(tree, target) < 0) reporter.fail(STEP, destination, errno);
  close(target);
  close(tree);
  tree = -1;
}

}  // namespace belay::shim
