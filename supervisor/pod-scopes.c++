// See pod-scopes.h.
#include "supervisor/pod-scopes.h"

#include <kj/debug.h>
#include <signal.h>

#include "snapshot/failure.h"
#include "supervisor/on-thread.h"
#include "supervisor/systemd-scope.h"

namespace belay::supervisor {

namespace {

using snapshot::Code;
using snapshot::fail;

// systemd answers in milliseconds; while it reloads its units, in seconds.
constexpr kj::Duration SYSTEMD_LIMIT = 25 * kj::SECONDS;

// How often a cgroup is looked at until systemd has taken it away.
constexpr kj::Duration LOOK_AGAIN = 1 * kj::MILLISECONDS;

// Should memory end, the keeper's few pages would not help.
constexpr int OOM_SCORE_ADJ = -999;

// Below the scope: a cgroup that gives controllers to its children may have no process itself.
kj::String keeperPath(kj::StringPtr scope) {
  return kj::str(scope, "/keeper");
}

// "/a.slice/a-b.slice/c.scope": the unit's and its slice's names.
ScopeRequest requestFor(kj::StringPtr podId, kj::StringPtr path, pid_t keeper) {
  size_t slash = KJ_REQUIRE_NONNULL(path.findLast('/'), path);
  auto parent = kj::heapString(path.slice(0, slash));
  size_t parentSlash = KJ_REQUIRE_NONNULL(parent.findLast('/'), path);
  return {.name = kj::str(path.slice(slash + 1)),
          .slice = kj::str(parent.slice(parentSlash + 1)),
          .description = kj::str("belay pod ", podId),
          .process = keeper};
}

}  // namespace

void PodScopes::requireSystemd() const {
  if (!systemdRunsThisMachine()) {
    fail(Code::FAILED_PRECONDITION, "cgroup_driver is \"systemd\", but systemd is not this ",
         "machine's init (no /run/systemd/system): set \"cgroupfs\"");
  }
  if (!cgroups.areUnifiedAlone()) {
    fail(Code::FAILED_PRECONDITION, "cgroup_driver is \"systemd\", which belay supports on cgroup ",
         "v2 alone, and this machine has v1 hierarchies: set \"cgroupfs\", or boot with ",
         "systemd.unified_cgroup_hierarchy=1");
  }
}

kj::Promise<void> PodScopes::ensure(kj::StringPtr podId, kj::StringPtr borrowedPath) {
  auto path = kj::str(borrowedPath);
  if (cgroups.hasProcess(keeperPath(path))) co_return;
  auto keeper = startKeeper(podId);
  bool kept = false;
  KJ_DEFER(if (!kept) keeper->signal(SIGKILL));
  // While containers hold the scope it outlives its keeper, and can be given another.
  if (!cgroups.exists(path)) {
    auto request = requestFor(podId, path, keeper->pid());
    co_await onThread([request = kj::mv(request)] { startScope(request, SYSTEMD_LIMIT); });
  }
  cgroups.move(keeper->pid(), keeperPath(path));
  kept = true;
}

// systemd hears that the cgroup is empty, forgets the scope and takes the cgroup away. Were it
// removed here, systemd would hear nothing, and count the scope among the active ones for ever.
kj::Promise<void> PodScopes::end(kj::StringPtr borrowedPath) {
  auto path = kj::str(borrowedPath);
  co_await cgroups.killAll(kj::str(path), timer);
  auto deadline = timer.now() + SYSTEMD_LIMIT;
  while (cgroups.exists(path) && timer.now() < deadline) {
    co_await timer.afterDelay(LOOK_AGAIN);
  }
  // No scope of systemd's any more.
  co_await cgroups.destroy(kj::str(path), timer);
}

// It begins in the shim's home, so that whatever happens it goes with the pod.
kj::Own<snapshot::Child> PodScopes::startKeeper(kj::StringPtr podId) {
  auto home = cgroups.makeHome(podId);
  snapshot::Command command;
  command.path = kj::str(shim);
  command.argv = kj::arr(kj::str("belay-shim"), kj::str("--keep-cgroup"));
  if (home.folder.get() >= 0) command.cgroupFolder = home.folder.get();
  command.group = snapshot::Command::Group::SESSION;
  command.oomScoreAdj = OOM_SCORE_ADJ;
  return children.spawn(command, snapshot::Child::OnDrop::LEAVE);
}

}  // namespace belay::supervisor
