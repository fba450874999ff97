// One cgroup: a directory of the same path in every hierarchy.
#include "shim/engine/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim/engine/cgroup-tree.h"
#include "shim/engine/context.h"
#include "shim/engine/text-file.h"

namespace belay::shim {
namespace {

using Hierarchy = CgroupHierarchies::Hierarchy;

void checkPath(kj::StringPtr path) {
  KJ_REQUIRE(path.size() > 1 && path[0] == '/' && path.size() < 2048 && !path.endsWith("/"),
             "A cgroup's path is absolute and not the root.", path);
  for (auto rest = path; rest.size() > 0;) {
    rest = rest.slice(1);
    auto component = rest.slice(0, rest.findFirst('/').orDefault(rest.size()));
    KJ_REQUIRE(
        component.size() > 0 && component != "."_kj.asArray() && component != ".."_kj.asArray(),
        "A cgroup's path has an empty, \".\" or \"..\" component.", path);
    rest = rest.slice(component.size());
  }
}

constexpr int MAX_KILL_ROUNDS = 64;

// Without cgroup.kill: nothing forks in a frozen cgroup, so that a round which finds no new process
// is the last one. The signals take effect when the cgroup thaws.
void killFrozen(int root, kj::StringPtr path) {
  int error = tryWriteTextFile(root, kj::str(path, "/freezer.state"), "FROZEN");
  if (error == ENOENT || error == ENODEV) return;
  size_t before = 0;
  for (int round = 0; round < MAX_KILL_ROUNDS; ++round) {
    auto pids = pidsInCgroupTree(root, path, SIZE_MAX);
    for (auto pid : pids)
      ::kill(pid, SIGKILL);
    if (round > 0 && pids.size() <= before) break;
    before = pids.size();
  }
  tryWriteTextFile(root, kj::str(path, "/freezer.state"), "THAWED");
}

}  // namespace

Cgroup::Cgroup(Badge, const CgroupHierarchies& hierarchies, kj::String path, kj::String killPath,
               bool isNew)
    : hierarchies(hierarchies), path(kj::mv(path)), killPath(kj::mv(killPath)), isNew(isNew) {}

kj::Own<Cgroup> Cgroup::create(const CgroupHierarchies& hierarchies, kj::StringPtr path) {
  checkPath(path);
  CgroupMaker maker;
  for (auto& hierarchy : hierarchies.all())
    maker.make(hierarchy, path);
  bool isNew = maker.madeAny();
  maker.keep();
  return kj::heap<Cgroup>(Badge(), hierarchies, kj::str(path), kj::str(path), isNew);
}

kj::Own<Cgroup> Cgroup::open(const CgroupHierarchies& hierarchies, kj::StringPtr path) {
  checkPath(path);
  return kj::heap<Cgroup>(Badge(), hierarchies, kj::str(path), kj::str(path), false);
}

kj::Own<Cgroup> Cgroup::createChild(kj::StringPtr name) {
  auto childPath = kj::str(killPath, "/", name);
  checkPath(childPath);
  CgroupMaker maker;
  maker.makePlain(killHierarchy(), childPath);
  bool isNew = maker.madeAny();
  maker.keep();
  return kj::heap<Cgroup>(Badge(), hierarchies, kj::str(path), kj::mv(childPath), isNew);
}

kj::Vector<kj::Own<Cgroup>> Cgroup::children(kj::StringPtr prefix) const {
  kj::Vector<kj::Own<Cgroup>> found;
  for (auto& name : childrenInCgroupTree(killHierarchy().root, killPath.slice(1))) {
    if (!name.startsWith(prefix)) continue;
    auto childPath = kj::str(killPath, '/', name);
    found.add(kj::heap<Cgroup>(Badge(), hierarchies, kj::str(path), kj::mv(childPath), false));
  }
  return found;
}

const Hierarchy& Cgroup::killHierarchy() const {
  KJ_IF_MAYBE (unified, hierarchies.unified()) {
    return *unified;
  }
  return KJ_REQUIRE_NONNULL(hierarchies.withController("freezer"),
                            "Neither a v2 hierarchy nor v1's freezer is mounted.");
}

kj::StringPtr Cgroup::pathIn(const Hierarchy& hierarchy) const {
  return &hierarchy == &killHierarchy() ? killPath.slice(1) : path.slice(1);
}

Cgroup::Joining Cgroup::joining() const {
  Joining joining;
  for (auto& hierarchy : hierarchies.all()) {
    bool v1 = hierarchy.version == Hierarchy::Version::V1;
    auto name = v1 ? kj::str(pathIn(hierarchy), "/tasks") : kj::str(pathIn(hierarchy));
    int flags = v1 ? O_WRONLY : O_PATH | O_DIRECTORY;
    int fd;
    KJ_SYSCALL(fd = openat(hierarchy.root, name.cStr(), flags | O_CLOEXEC), hierarchy.mountPoint,
               name);
    if (v1) {
      joining.tasks.add(kj::AutoCloseFd(fd));
    } else {
      joining.unified = kj::AutoCloseFd(fd);
    }
  }
  return joining;
}

void Cgroup::kill() {
  auto& hierarchy = killHierarchy();
  auto directory = pathIn(hierarchy);
  if (hierarchy.version == Hierarchy::Version::V1) return killFrozen(hierarchy.root, directory);

  auto file = kj::str(directory, "/cgroup.kill");
  int error = tryWriteTextFile(hierarchy.root, file, "1");
  // ENODEV: removed between open and write.
  if (error != 0 && error != ENOENT && error != ENODEV) KJ_FAIL_SYSCALL("write", error, file);
}

bool Cgroup::empty() const {
  auto& hierarchy = killHierarchy();
  auto directory = pathIn(hierarchy);
  if (hierarchy.version == Hierarchy::Version::V1) {
    return pidsInCgroupTree(hierarchy.root, directory, 1).size() == 0;
  }
  KJ_IF_MAYBE (events, readTextFileIfExists(hierarchy.root, kj::str(directory, "/cgroup.events"))) {
    return numberAfterKey(*events, "populated").orDefault(0) == 0;
  }
  return true;
}

kj::Promise<void> Cgroup::whenEmpty(EngineContext& context) {
  auto& hierarchy = killHierarchy();
  if (hierarchy.version == Hierarchy::Version::V1) {
    // Pure v1 has no file that tells: only here is there a clock.
    while (!empty())
      co_await context.timer.afterDelay(10 * kj::MILLISECONDS);
    co_return;
  }
  auto name = kj::str(pathIn(hierarchy), "/cgroup.events");
  int fd = openat(hierarchy.root, name.cStr(), O_RDONLY | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT) co_return;
  KJ_REQUIRE(fd >= 0, "Cannot watch the cgroup.", name, strerror(errno));
  kj::AutoCloseFd file(fd);
  kj::UnixEventPort::FdObserver observer(context.eventPort, file,
                                         kj::UnixEventPort::FdObserver::OBSERVE_URGENT);
  for (;;) {
    // Asked for before the file is read: the observer is edge-triggered.
    auto changed = observer.whenUrgentDataAvailable();
    char text[256];
    ssize_t n = pread(file, text, sizeof(text) - 1, 0);
    if (n < 0 && errno == ENODEV) co_return;
    KJ_REQUIRE(n >= 0, "Cannot read the cgroup's events.", name, strerror(errno));
    text[n] = '\0';
    if (numberAfterKey(kj::StringPtr(text, n), "populated").orDefault(0) == 0) co_return;
    co_await changed;
  }
}

uint64_t Cgroup::oomKills() const {
  KJ_IF_MAYBE (hierarchy, hierarchies.withController("memory")) {
    bool v1 = hierarchy->version == Hierarchy::Version::V1;
    auto name = kj::str(pathIn(*hierarchy), v1 ? "/memory.oom_control" : "/memory.events");
    KJ_IF_MAYBE (text, readTextFileIfExists(hierarchy->root, name)) {
      return numberAfterKey(*text, "oom_kill").orDefault(0);
    }
  }
  return 0;
}

kj::Vector<pid_t> Cgroup::pids(size_t limit) const {
  auto& hierarchy = killHierarchy();
  return pidsInCgroupTree(hierarchy.root, pathIn(hierarchy), limit);
}

void Cgroup::remove() {
  auto& kill = killHierarchy();
  removeCgroupTree(kill.root, pathIn(kill));
  if (path != killPath) return;
  for (auto& hierarchy : hierarchies.all()) {
    if (&hierarchy != &kill) removeCgroupTree(hierarchy.root, pathIn(hierarchy));
  }
}

void Cgroup::removeIfUnused() {
  for (auto& hierarchy : hierarchies.all()) {
    KJ_SYSCALL_HANDLE_ERRORS(
        unlinkat(hierarchy.root, kj::str(pathIn(hierarchy)).cStr(), AT_REMOVEDIR)) {
      case ENOENT:
      case EBUSY:
        break;
      default:
        KJ_FAIL_SYSCALL("rmdir", error, path);
    }
  }
}

}  // namespace belay::shim
