// See reconcile.h.
#include "supervisor/reconcile.h"

#include <kj/debug.h>

#include "failpoint/failpoint.h"
#include "snapshot/failure.h"
#include "snapshot/sys/boot.h"
#include "supervisor/attempt.h"
#include "supervisor/log.h"
#include "supervisor/shim-failure.h"

namespace belay::supervisor {

namespace {

using snapshot::Code;

constexpr kj::Duration FIRST_RETRY = 100 * kj::MILLISECONDS;
constexpr kj::Duration SLOWEST_RETRY = 5 * kj::SECONDS;

// Pods that plug-ins run for at a time, after a restart of the machine, when it has most to do.
constexpr kj::uint RELEASES_AT_ONCE = 4;

// A record without a boot says nothing either way: its shim has to be looked for.
bool isOfAnotherBoot(const Pod& pod) {
  auto boot = pod.get().getBootId();
  return boot.size() > 0 && boot != snapshot::bootId();
}

// Whether there is, or may be, something that a shim is needed for.
bool wantsShim(const Pod& pod) {
  return pod.stage() == PodStage::READY || pod.stage() == PodStage::STOPPING;
}

}  // namespace

Reconciler::Reconciler(Parts& parts, PodTeardown& teardown, PodManager& pods,
                       ContainerManager& containers, kj::Duration shimDeadline)
    : parts(parts),
      teardown(teardown),
      pods(pods),
      containers(containers),
      succession(parts),
      shimDeadline(shimDeadline),
      releases(RELEASES_AT_ONCE),
      tasks(*this) {
  parts.inventory.onShimDeath([this](Pod& pod) { shimDied(pod); });
}

kj::Promise<void> Reconciler::run() {
  auto homeless = parts.inventory.load();
  CO_FAILPOINT(parts.timer, "belayd.reconcile/after-load");
  sweep(homeless);
  CO_FAILPOINT(parts.timer, "belayd.reconcile/after-sweep");
  kj::Vector<kj::Promise<void>> all;
  for (auto& pod : parts.inventory.allPods()) {
    all.add(settle(kj::mv(pod)));
  }
  size_t count = all.size();
  co_await kj::joinPromises(all.releaseAsArray());
  log(LogLevel::INFO, "pods are as they are", "pods", count, "containers",
      parts.inventory.allContainers().size());
}

kj::Promise<void> Reconciler::settle(kj::Own<Pod> pod) {
  if (isOfAnotherBoot(*pod)) {
    settleAfterReboot(*pod);
    co_return;
  }
  KJ_IF_MAYBE (folder, parts.folders.open(pod->id())) {
    auto& shim = pod->newConnection(parts.io, parts.port, parts.timer, *folder);
    auto meeting = meet(kj::addRef(*pod), shim).fork();
    // It goes on after the deadline: a silent shim is met when it speaks.
    tasks.add(meeting.addBranch());
    auto late = parts.timer.afterDelay(shimDeadline).then([pod = kj::addRef(*pod)] {
      log(LogLevel::WARNING, "a pod's shim does not answer; going on without it", "pod", pod->id());
    });
    co_await meeting.addBranch().exclusiveJoin(kj::mv(late));
  } else {
    // Its shim was never started, or somebody has taken away what it needs to live.
    pod->setShimDead();
    teardown.settleByRecord(*pod, PodTeardown::Unfinished::LOST);
    finish(*pod);
  }
}

void Reconciler::settleAfterReboot(Pod& pod) {
  log(LogLevel::INFO, "the machine was restarted; a pod of before is stopped", "pod", pod.id());
  teardown.settleAfterReboot(pod);
  for (auto& container : parts.inventory.containersOf(pod)) {
    if (container->get().getCreating() || container->get().getRemoving()) {
      tasks.add(containers.discard(kj::mv(container)));
    }
  }
  if (pod.stage() == PodStage::STOPPING) {
    tasks.add(inTurn([this, id = kj::str(pod.id())] { return pods.stop(id); }));
  } else {
    finish(pod);
  }
}

// Whatever runs plug-ins for every pod of the node.
kj::Promise<void> Reconciler::inTurn(kj::Function<kj::Promise<void>()> work) {
  auto slot = co_await releases.take();
  co_await work();
}

// Until the shim is met or known to be dead.
kj::Promise<void> Reconciler::meet(kj::Own<Pod> pod, ShimConnection& shim) {
  for (auto pause = FIRST_RETRY;; pause = kj::min(pause * 2, SLOWEST_RETRY)) {
    auto meeting =
        orLate(parts.timer, shimDeadline * DEADLINES_UNTIL_KILLED, "its answer", shim.connect());
    KJ_IF_MAYBE (failure, co_await attempt(kj::mv(meeting))) {
      if (snapshot::codeOf(*failure) == Code::NOT_FOUND) {
        if (wantsShim(*pod)) {
          shim.expectSuccessor();
          co_await succeed(kj::addRef(*pod));
          if (!pod->isShimDead()) co_await takeOver(kj::addRef(*pod));
        } else {
          pod->setShimDead();
          teardown.settleByRecord(*pod, PodTeardown::Unfinished::LEAVE);
        }
        break;
      }
      log(LogLevel::WARNING, "a pod's shim cannot be reached", "pod", pod->id(), "reason",
          snapshot::messageOf(*failure));
      if (snapshot::codeOf(*failure) == Code::DEADLINE_EXCEEDED) {
        log(LogLevel::ERROR, "a pod's shim is silent for too long; it is killed", "pod", pod->id());
        shim.kill();
      }
    } else {
      co_await takeOver(kj::addRef(*pod));
      break;
    }
    co_await parts.timer.afterDelay(pause);
    // Somebody may have removed the pod with force meanwhile.
    if (parts.inventory.isGone(*pod)) co_return;
  }
  finish(*pod);
}

// For what a predecessor was in the middle of. The connection has told the states of all containers
// that the shim has.
kj::Promise<void> Reconciler::takeOver(kj::Own<Pod> pod) {
  CO_FAILPOINT(parts.timer, "belayd.reconcile/after-meeting");
  for (auto& id : co_await markLost(*pod)) {
    if (!parts.inventory.knowsContainer(id)) {
      tasks.add(removeStranger(kj::addRef(*pod), kj::str(id)));
    }
  }
  for (auto& container : parts.inventory.containersOf(*pod)) {
    if (container->get().getCreating() || container->get().getRemoving()) {
      tasks.add(containers.discard(kj::mv(container)));
    }
  }
}

// Containers that the pod's shim should have and has not. Gives those that it has.
kj::Promise<kj::HashSet<kj::String>> Reconciler::markLost(Pod& pod) {
  auto shim = co_await pod.client();
  auto answer = co_await shim.stateRequest().send();
  kj::HashSet<kj::String> present;
  for (auto state : answer.getState().getContainers())
    present.insert(kj::str(state.getId()));
  for (auto& container : parts.inventory.containersOf(pod)) {
    auto record = container->get();
    if (record.getCreating() || record.getRemoving() || present.contains(container->id())) continue;
    parts.inventory.markLost(*container, "its shim does not know it any more");
  }
  co_return kj::mv(present);
}

kj::Promise<void> Reconciler::removeStranger(kj::Own<Pod> pod, kj::String containerId) {
  log(LogLevel::WARNING, "a shim has a container that no record knows; it is removed", "pod",
      pod->id(), "container", containerId);
  auto shim = co_await pod->client();
  auto lookup = shim.containerRequest();
  lookup.setId(containerId);
  auto answer = co_await lookup.send().getContainer().removeRequest().send();
  requireDone(answer.getOutcome());
  parts.snapshotter.remove(containerId);
}

// While belayd lives.
void Reconciler::shimDied(Pod& pod) {
  if (parts.inventory.isGone(pod) || pod.stage() == PodStage::REMOVING) return;
  if (!wantsShim(pod)) {
    teardown.settleByRecord(pod, PodTeardown::Unfinished::LEAVE);
    return;
  }
  log(LogLevel::WARNING, "a pod's shim has died; it gets another one", "pod", pod.id());
  KJ_ASSERT_NONNULL(pod.shim()).expectSuccessor();
  tasks.add(succeed(kj::addRef(pod)));
}

kj::Promise<void> Reconciler::succeed(kj::Own<Pod> pod) {
  KJ_IF_MAYBE (failure, co_await attempt(succession.run(*pod))) {
    giveUp(*pod, snapshot::messageOf(*failure));
    co_return;
  }
  // Those that are in the making, or being removed, are their operations' to look after.
  co_await markLost(*pod);
  log(LogLevel::INFO, "a pod's next shim has taken over", "pod", pod->id());
}

// Containers that run on without a shim are left alone until somebody stops the pod: what they
// write stays in their FIFOs, whose ends belayd holds.
void Reconciler::giveUp(Pod& pod, kj::StringPtr reason) {
  if (parts.inventory.isGone(pod) || pod.stage() == PodStage::REMOVING) return;
  log(LogLevel::ERROR, "a pod's shim is dead and has no successor; the pod is not ready any more",
      "pod", pod.id(), "reason", reason);
  teardown.settleByRecord(pod, PodTeardown::Unfinished::LEAVE);
  parts.inventory.settleOrphans(pod);
  if (pod.stage() != PodStage::READY) return;
  parts.inventory.update(pod, [&](PodRecord::Builder record) {
    record.setStage(PodStage::NOT_READY);
    record.setError(kj::str("its shim died: ", reason));
  });
}

// What the predecessor had begun.
void Reconciler::finish(Pod& pod) {
  switch (pod.stage()) {
    case PodStage::CREATING:
    case PodStage::REMOVING:
      tasks.add(pods.discard(kj::addRef(pod)));
      break;
    case PodStage::STOPPING:
      tasks.add(pods.stop(pod.id()));
      break;
    case PodStage::READY:
      if (pod.isShimDead()) {
        parts.inventory.update(
            pod, [](PodRecord::Builder record) { record.setStage(PodStage::NOT_READY); });
      }
      break;
    case PodStage::NOT_READY:
      break;
  }
}

void Reconciler::sweep(kj::ArrayPtr<const Owned<ContainerRecord>> homeless) {
  for (auto& record : homeless) {
    parts.database.removeContainer(record.get().getId());
  }
  for (auto& id : parts.folders.list()) {
    if (parts.inventory.knowsPod(id)) continue;
    log(LogLevel::WARNING, "a pod's folder belongs to no record; it is swept", "pod", id);
    tasks.add(teardown.sweepFolder(kj::mv(id)));
  }
  releaseForgottenNetworks();
  for (auto& snapshot : parts.snapshotter.list()) {
    if (!parts.inventory.knowsContainer(snapshot.key)) parts.snapshotter.remove(snapshot.key);
  }
}

// A power cut may take a pod's record and leave what plug-ins wrote, or take back what they removed
// after the record said so. Other pods are released when they are stopped.
void Reconciler::releaseForgottenNetworks() {
  kj::HashSet<kj::String> recorded;
  for (auto& pod : parts.inventory.allPods()) {
    if (pod->get().getNetwork().getAdded()) recorded.insert(kj::str(pod->id()));
  }
  for (auto& id : parts.cni.attached()) {
    if (recorded.contains(id)) continue;
    log(LogLevel::WARNING, "a pod is attached to a network, and no record says so; it is released",
        "pod", id);
    tasks.add(inTurn([this, id = kj::mv(id)] { return parts.cni.release(id); }));
  }
}

void Reconciler::taskFailed(kj::Exception&& exception) {
  log(LogLevel::ERROR, "what a former belayd left could not be finished", "reason",
      snapshot::messageOf(exception));
}

}  // namespace belay::supervisor
