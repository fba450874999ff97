// See cgroups.h.
#include "supervisor/cgroups.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot/failure.h"
#include "supervisor/text-file.h"

namespace belay::supervisor {

namespace {

using snapshot::Code;
using snapshot::fail;

// How often a killed cgroup is looked at until it is empty. The kernel takes some 5 ms for one
// process; there is no event for it that v1 and v2 share.
constexpr kj::Duration LOOK_AGAIN = 1 * kj::MILLISECONDS;

// Of processes read from one cgroup at a time; the rest is found the next time.
constexpr size_t MAX_PROCS_BYTES = 1 << 20;
constexpr int MAX_DEPTH = 32;

// "/a/b" without its slash, for *at() calls below a hierarchy's root.
kj::StringPtr relative(kj::StringPtr path) {
  while (path.startsWith("/"))
    path = path.slice(1);
  KJ_REQUIRE(path.size() > 0, "the root cgroup is nobody's to change");
  return path;
}

kj::Maybe<kj::AutoCloseFd> openFolder(int parent, kj::StringPtr path) {
  int fd;
  KJ_SYSCALL_HANDLE_ERRORS(
      fd = openat(parent, path.cStr(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)) {
    case ENOENT:
    case ENODEV:  // being removed
      return nullptr;
    default:
      KJ_FAIL_SYSCALL("open cgroup", error, path);
  }
  return kj::AutoCloseFd(fd);
}

// With its parents.
void makeFolder(int parent, kj::StringPtr path) {
  for (size_t end = 1; end <= path.size(); ++end) {
    if (end < path.size() && path[end] != '/') continue;
    auto name = kj::heapString(path.slice(0, end));
    KJ_SYSCALL_HANDLE_ERRORS(mkdirat(parent, name.cStr(), 0755)) {
      case EEXIST:
        break;
      default:
        KJ_FAIL_SYSCALL("make cgroup", error, name);
    }
  }
}

// Of v1: a new cpuset has no CPUs and takes no process.
bool isClosedToProcesses(int hierarchy) {
  return faccessat(hierarchy, "cpuset.cpus", F_OK, 0) == 0;
}

kj::AutoCloseFd openTasks(int hierarchy, kj::StringPtr path) {
  int fd;
  KJ_SYSCALL(fd = openat(hierarchy, kj::str(path, "/tasks").cStr(), O_WRONLY | O_CLOEXEC), path);
  return kj::AutoCloseFd(fd);
}

template <typename Each>
void forEachChild(int folder, Each&& each) {
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
    if (entry->d_type == DT_DIR && name != "." && name != "..") each(name);
  }
}

// pids of the cgroup and all below, in the host's pid namespace.
void addProcesses(int folder, kj::Vector<pid_t>& pids, int depth = 0) {
  kj::String text;
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&] {
                 text = readTextFileAt(folder, "cgroup.procs", MAX_PROCS_BYTES);
               })) {
    // It went away under our hands, or is a threaded cgroup, whose processes its parent lists.
    return;
  }
  const char* at = text.cStr();
  while (*at != '\0') {
    char* end;
    long pid = ::strtol(at, &end, 10);
    if (end == at) break;
    if (pid > 0) pids.add(static_cast<pid_t>(pid));
    at = *end == '\n' ? end + 1 : end;
  }
  if (depth == MAX_DEPTH) return;
  forEachChild(folder, [&](kj::StringPtr name) {
    KJ_IF_MAYBE (child, openFolder(folder, name)) {
      addProcesses(*child, pids, depth + 1);
    }
  });
}

// False when something still lives in it: a process that is dying counts for a moment longer than
// it is listed.
bool tryRemoveFolder(int parent, kj::StringPtr path, int depth = 0) {
  bool removed = true;
  KJ_IF_MAYBE (folder, openFolder(parent, path)) {
    if (depth < MAX_DEPTH) {
      forEachChild(*folder, [&](kj::StringPtr name) {
        removed = tryRemoveFolder(*folder, name, depth + 1) && removed;
      });
    }
  }
  KJ_SYSCALL_HANDLE_ERRORS(unlinkat(parent, path.cStr(), AT_REMOVEDIR)) {
    case ENOENT:
      break;
    case EBUSY:
      return false;
    default:
      KJ_FAIL_SYSCALL("remove cgroup", error, path);
  }
  return removed;
}

// cgroup.kill (Linux 5.14) reaches also those that fork just now; elsewhere each is killed by
// itself, again and again until none is left.
void killProcesses(int folder, bool unified, kj::ArrayPtr<const pid_t> pids) {
  if (unified) {
    int file = openat(folder, "cgroup.kill", O_WRONLY | O_CLOEXEC);
    if (file >= 0) {
      kj::AutoCloseFd own(file);
      if (write(own, "1", 1) == 1) return;
    }
  }
  for (pid_t pid : pids) {
    ::kill(pid, SIGKILL);
  }
  // A v1 freezer holds back even SIGKILL; its former owner may have died between freeze and thaw.
  int state = openat(folder, "freezer.state", O_WRONLY | O_CLOEXEC);
  if (state >= 0) {
    kj::AutoCloseFd own(state);
    [[maybe_unused]] ssize_t ignored = write(own, "THAWED", 6);
  }
}

[[noreturn]] void failToDestroy(kj::StringPtr path, kj::ArrayPtr<const pid_t> left,
                                kj::Duration limit) {
  if (left.size() == 0) {
    fail(Code::INTERNAL, "cgroup ", path, " cannot be removed: the kernel says that it is in use");
  }
  fail(Code::INTERNAL, "process ", left[0], " of cgroup ", path,
       " does not die: it was sent SIGKILL ", limit / kj::SECONDS,
       " s ago and hangs in the kernel");
}

}  // namespace

Cgroups::Cgroups(kj::StringPtr root) : root(kj::str(root)) {
  auto mounts = readTextFile("/proc/self/mountinfo", 16 << 20);
  for (auto& line : splitText(mounts, '\n')) {
    // 30 23 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
    auto fields = splitText(line, ' ');
    size_t dash = 0;
    while (dash < fields.size() && fields[dash] != "-")
      ++dash;
    if (dash + 1 >= fields.size() || fields[3] != "/") continue;
    bool isUnified = fields[dash + 1] == "cgroup2";
    if (!isUnified && fields[dash + 1] != "cgroup") continue;
    int folder = open(fields[4].cStr(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) continue;
    hierarchies.add(Hierarchy{kj::str(fields[4]), kj::AutoCloseFd(folder), isUnified});
  }
  if (hierarchies.size() == 0) {
    fail(Code::FAILED_PRECONDITION,
         "no cgroup hierarchy is mounted (usually below /sys/fs/cgroup): containers need one");
  }

  shimTasks = makeHomeOfAll(kj::str(root, "/shims"));
  sessionTasks = makeHomeOfAll(kj::str(root, "/sessions"));
}

// In every hierarchy; gives the files by which v1's are joined.
kj::Vector<kj::AutoCloseFd> Cgroups::makeHomeOfAll(kj::StringPtr path) {
  kj::Vector<kj::AutoCloseFd> result;
  for (auto& hierarchy : hierarchies) {
    // Who lives here may share belayd's CPUs. Nor may a folder stay there whose children would
    // inherit nothing.
    if (!hierarchy.unified && isClosedToProcesses(hierarchy.folder)) continue;
    makeFolder(hierarchy.folder, path);
    if (!hierarchy.unified) result.add(openTasks(hierarchy.folder, path));
  }
  return result;
}

// Null without a v2 hierarchy.
kj::AutoCloseFd Cgroups::unifiedFolder(kj::StringPtr path) {
  KJ_IF_MAYBE (hierarchy, unified()) {
    makeFolder(hierarchy->folder, path);
    return KJ_REQUIRE_NONNULL(openFolder(hierarchy->folder, path));
  }
  return nullptr;
}

kj::String Cgroups::homeOf(kj::StringPtr podId) const {
  return kj::str(root, "/shims/", podId);
}

kj::Maybe<const Cgroups::Hierarchy&> Cgroups::unified() const {
  for (auto& hierarchy : hierarchies) {
    if (hierarchy.unified) return hierarchy;
  }
  return nullptr;
}

Cgroups::Home Cgroups::makeHome(kj::StringPtr podId) {
  return {shimTasks, unifiedFolder(homeOf(podId))};
}

Cgroups::Home Cgroups::sessionsHome() {
  return {sessionTasks, unifiedFolder(kj::str(root, "/sessions"))};
}

const Cgroups::Hierarchy& Cgroups::markHierarchy() const {
  KJ_IF_MAYBE (hierarchy, unified()) return *hierarchy;
  for (auto& hierarchy : hierarchies) {
    if (!isClosedToProcesses(hierarchy.folder)) return hierarchy;
  }
  fail(Code::FAILED_PRECONDITION, "no cgroup hierarchy but cpuset is mounted");
}

Cgroups::Mark Cgroups::makeMark(kj::StringPtr path) {
  auto& hierarchy = markHierarchy();
  if (hierarchy.unified) return {nullptr, unifiedFolder(path)};
  makeFolder(hierarchy.folder, path);
  return {openTasks(hierarchy.folder, path), nullptr};
}

kj::AutoCloseFd Cgroups::openRoot() const {
  auto& hierarchy = markHierarchy();
  return KJ_REQUIRE_NONNULL(openFolder(hierarchy.folder, relative(root)), "cgroup is gone", root);
}

kj::Vector<kj::String> Cgroups::childrenOf(kj::StringPtr path) const {
  kj::Vector<kj::String> names;
  for (auto& hierarchy : hierarchies) {
    KJ_IF_MAYBE (folder, openFolder(hierarchy.folder, relative(path))) {
      forEachChild(*folder, [&](kj::StringPtr name) { names.add(kj::str(name)); });
    }
  }
  return names;
}

kj::Vector<pid_t> Cgroups::sessions() const {
  kj::Vector<pid_t> pids;
  for (auto& hierarchy : hierarchies) {
    KJ_IF_MAYBE (folder, openFolder(hierarchy.folder, relative(kj::str(root, "/sessions")))) {
      addProcesses(*folder, pids);
      break;
    }
  }
  return pids;
}

kj::Promise<void> Cgroups::removeHome(kj::StringPtr podId, kj::Timer& timer) {
  return destroy(homeOf(podId), timer);
}

bool Cgroups::exists(kj::StringPtr path) const {
  for (auto& hierarchy : hierarchies) {
    if (faccessat(hierarchy.folder, relative(path).cStr(), F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
      return true;
    }
  }
  return false;
}

bool Cgroups::areUnifiedAlone() const {
  return hierarchies.size() == 1 && hierarchies[0].unified;
}

kj::Vector<pid_t> Cgroups::processesIn(kj::StringPtr path) const {
  kj::Vector<pid_t> pids;
  for (auto& hierarchy : hierarchies) {
    KJ_IF_MAYBE (folder, openFolder(hierarchy.folder, relative(path))) {
      addProcesses(*folder, pids);
    }
  }
  return pids;
}

bool Cgroups::hasProcess(kj::StringPtr path) const {
  KJ_IF_MAYBE (hierarchy, unified()) {
    KJ_IF_MAYBE (folder, openFolder(hierarchy->folder, relative(path))) {
      kj::Vector<pid_t> pids;
      addProcesses(*folder, pids);
      return pids.size() > 0;
    }
  }
  return false;
}

void Cgroups::move(pid_t process, kj::StringPtr path) {
  auto& hierarchy = KJ_REQUIRE_NONNULL(unified(), "no cgroup v2 hierarchy", path);
  KJ_SYSCALL_HANDLE_ERRORS(mkdirat(hierarchy.folder, relative(path).cStr(), 0755)) {
    case EEXIST:
      break;
    default:
      KJ_FAIL_SYSCALL("make cgroup", error, path);
  }
  auto file = kj::str(relative(path), "/cgroup.procs");
  int fd;
  KJ_SYSCALL(fd = openat(hierarchy.folder, file.cStr(), O_WRONLY | O_CLOEXEC), file);
  kj::AutoCloseFd own(fd);
  auto text = kj::str(process);
  KJ_SYSCALL(write(fd, text.begin(), text.size()), "move a process to cgroup", path, process);
}

void Cgroups::removeIfUnused(kj::StringPtr path) {
  for (auto& hierarchy : hierarchies) {
    KJ_SYSCALL_HANDLE_ERRORS(unlinkat(hierarchy.folder, relative(path).cStr(), AT_REMOVEDIR)) {
      case ENOENT:
      case EBUSY:
        break;
      default:
        KJ_FAIL_SYSCALL("remove cgroup", error, path);
    }
  }
}

// SIGKILL to all that live in it at this moment; who they are.
kj::Vector<pid_t> Cgroups::killOnce(kj::StringPtr path) {
  kj::Vector<pid_t> left;
  for (auto& hierarchy : hierarchies) {
    KJ_IF_MAYBE (folder, openFolder(hierarchy.folder, relative(path))) {
      kj::Vector<pid_t> here;
      addProcesses(*folder, here);
      if (here.size() > 0) killProcesses(*folder, hierarchy.unified, here);
      left.addAll(here);
    }
  }
  return left;
}

bool Cgroups::tryRemove(kj::StringPtr path) {
  for (auto& hierarchy : hierarchies) {
    if (!tryRemoveFolder(hierarchy.folder, relative(path))) return false;
  }
  return true;
}

kj::Promise<void> Cgroups::killAll(kj::String path, kj::Timer& timer, kj::Duration limit) {
  auto deadline = timer.now() + limit;
  for (;;) {
    auto left = killOnce(path);
    if (left.size() == 0) co_return;
    if (timer.now() >= deadline) failToDestroy(path, left, limit);
    co_await timer.afterDelay(LOOK_AGAIN);
  }
}

kj::Promise<void> Cgroups::whenGone(kj::String path, kj::Timer& timer, kj::Duration limit) {
  auto deadline = timer.now() + limit;
  while (exists(path)) {
    if (timer.now() >= deadline) failToDestroy(path, processesIn(path), limit);
    co_await timer.afterDelay(LOOK_AGAIN);
  }
}

kj::Promise<void> Cgroups::destroy(kj::String path, kj::Timer& timer, kj::Duration limit) {
  auto deadline = timer.now() + limit;
  for (;;) {
    auto left = killOnce(path);
    if (left.size() == 0 && tryRemove(path)) co_return;
    if (timer.now() >= deadline) failToDestroy(path, left, limit);
    co_await timer.afterDelay(LOOK_AGAIN);
  }
}

}  // namespace belay::supervisor
