// See pod-teardown.h.
#include "supervisor/pod-teardown.h"

#include <kj/debug.h>
#include <signal.h>

#include "failpoint/failpoint.h"
#include "snapshot/failure.h"
#include "snapshot/sys/boot.h"
#include "supervisor/attempt.h"
#include "supervisor/first-process.h"
#include "supervisor/log.h"
#include "supervisor/shim-failure.h"
#include "supervisor/spec/cgroup-path.h"
#include "supervisor/with-shim.h"

namespace belay::supervisor {

namespace {

// How long a shim may take for what it should do in milliseconds, before it is taken for hung and
// the pod is ended without it.
constexpr kj::Duration SHIM_LIMIT = 20 * kj::SECONDS;

// From the answer to removePod to the shim's exit.
constexpr kj::Duration EXIT_LIMIT = 5 * kj::SECONDS;

// From a process's death to its being reaped here.
constexpr kj::Duration REAP_LIMIT = 1 * kj::SECONDS;

}  // namespace

kj::Promise<void> PodTeardown::stop(Pod& pod) {
  pod.creations.cancel(snapshot::failure(snapshot::Code::FAILED_PRECONDITION,
                                         kj::str("pod ", pod.id(), " is being stopped")));
  co_await stopContainers(pod);
  CO_FAILPOINT(parts.timer, "belayd.teardown/after-containers");
  co_await releaseNetwork(pod);
}

kj::Promise<void> PodTeardown::remove(Pod& pod) {
  pod.creations.cancel(snapshot::failure(snapshot::Code::FAILED_PRECONDITION,
                                         kj::str("pod ", pod.id(), " is being removed")));
  // Before the network namespace goes: plug-ins undo what they did inside it.
  co_await releaseNetwork(pod);
  co_await endShim(pod);
  CO_FAILPOINT(parts.timer, "belayd.teardown/after-folder");
  for (auto& container : parts.inventory.containersOf(pod)) {
    parts.snapshotter.remove(container->id());
    CO_FAILPOINT(parts.timer, "belayd.teardown/after-snapshot");
    parts.inventory.remove(*container);
    CO_FAILPOINT(parts.timer, "belayd.teardown/after-container-record");
  }
  parts.inventory.remove(pod);
}

kj::Promise<void> PodTeardown::stopContainers(Pod& pod) {
  if (!pod.isShimDead()) {
    KJ_IF_MAYBE (failure, co_await attempt(askToStop(pod))) {
      log(LogLevel::WARNING,
          "a pod's shim does not stop its containers; they are killed without it", "pod", pod.id(),
          "reason", snapshot::messageOf(*failure));
    } else {
      co_return;
    }
  }
  co_await killAllWithoutShim(pod);
}

// Done if the shim has none of that id: its creation was cancelled, or undone.
kj::Promise<void> PodTeardown::killContainer(shim::Shim::Client shim, kj::StringPtr id) {
  auto lookup = shim.containerRequest();
  lookup.setId(id);
  auto found = lookup.send();
  auto stop = found.getContainer().stopRequest();
  stop.setSignal(SIGKILL);
  stop.setGraceMs(0);
  auto stopping = stop.send().then([](auto answer) { requireDone(answer.getOutcome()); });
  auto answer = co_await found;
  if (isNotFound(answer.getOutcome())) co_return;
  requireDone(answer.getOutcome());
  co_await stopping;
}

kj::Promise<void> PodTeardown::askToStop(Pod& pod) {
  auto stopping = withShim(parts.timer, pod,
                           [&](shim::Shim::Client shim) { return stopAll(kj::mv(shim), pod); });
  co_await orLate(parts.timer, SHIM_LIMIT, "the shim's stop of all containers", kj::mv(stopping));
}

kj::Promise<void> PodTeardown::stopAll(shim::Shim::Client shim, Pod& pod) {
  kj::Vector<kj::Promise<void>> stops;
  for (auto& container : parts.inventory.containersOf(pod)) {
    if (!container->hasExited()) stops.add(killContainer(shim, container->id()));
  }
  co_await kj::joinPromises(stops.releaseAsArray());
  // What the watcher has not told yet.
  auto answer = co_await shim.stateRequest().send();
  for (auto state : answer.getState().getContainers())
    parts.inventory.apply(pod, state);
}

// The shim goes, too: one that hangs would come back to a pod that is not as it knows it.
kj::Promise<void> PodTeardown::killAllWithoutShim(Pod& pod) {
  KJ_IF_MAYBE (shim, pod.shim()) {
    shim->kill();
  }
  settleByRecord(pod, Unfinished::LEAVE);
  for (auto& container : parts.inventory.containersOf(pod)) {
    co_await stopWithoutShim(*container, SIGKILL, 0 * kj::SECONDS);
  }
}

kj::Promise<void> PodTeardown::stopWithoutShim(Container& container, int signal,
                                               kj::Duration grace) {
  if (container.hasExited()) co_return;
  if (grace > 0 * kj::SECONDS) co_await giveGrace(container, signal, grace);
  bool ours = isOurChild(container.get().getLast().getPid());
  auto path = container.get().getSpec().getCgroupPath();
  if (path.size() > 0) co_await parts.cgroups.destroy(kj::str(path), parts.timer);
  // An orphan that came to us is reaped in a moment, and Inventory::orphanExited() is told.
  auto deadline = parts.timer.now() + REAP_LIMIT;
  while (ours && !container.hasExited() && parts.timer.now() < deadline) {
    co_await parts.timer.afterDelay(1 * kj::MILLISECONDS);
  }
  parts.inventory.markLost(container, "its shim died, and how it ended is not known");
}

kj::Promise<void> PodTeardown::giveGrace(Container& container, int signal, kj::Duration grace) {
  KJ_IF_MAYBE (process, openFirstProcess(parts.held, container)) {
    kj::UnixEventPort::FdObserver exit(parts.port, *process,
                                       kj::UnixEventPort::FdObserver::OBSERVE_READ);
    if (!signalProcess(*process, signal)) co_return;
    co_await exit.whenBecomesReadable().exclusiveJoin(parts.timer.afterDelay(grace));
  }
}

void PodTeardown::settleByRecord(Pod& pod, Unfinished unfinished) {
  applyRecord(pod);
  if (unfinished == Unfinished::LEAVE) return;
  for (auto& container : parts.inventory.containersOf(pod)) {
    parts.inventory.markLost(*container, "its shim died, and how it ended is not known");
  }
}

// In a record of another boot exits alone are true still.
void PodTeardown::applyRecord(Pod& pod) {
  KJ_IF_MAYBE (record, parts.folders.record(pod.id())) {
    bool current = record->get().getBootId() == snapshot::bootId();
    for (auto state : record->get().getPod().getContainers()) {
      if (current || state.getStage() == shim::Stage::EXITED) parts.inventory.apply(pod, state);
    }
  }
}

void PodTeardown::settleAfterReboot(Pod& pod) {
  pod.setShimDead();
  applyRecord(pod);
  for (auto& container : parts.inventory.containersOf(pod)) {
    parts.inventory.markLost(*container, "the machine was restarted", "NodeRestarted");
    parts.snapshotter.remove(container->id());
  }
  parts.folders.remove(pod.id());
  if (pod.stage() != PodStage::READY) return;
  parts.inventory.update(pod, [](PodRecord::Builder record) {
    record.setStage(PodStage::STOPPING);
    record.setError("the machine was restarted");
  });
}

kj::Promise<void> PodTeardown::releaseNetwork(Pod& pod) {
  auto network = pod.get().getNetwork();
  if (!network.getAdded()) co_return;
  CO_FAILPOINT(parts.timer, "belayd.teardown/before-network");
  co_await parts.cni.del(Owned<NetworkAttachment>(network));
  CO_FAILPOINT(parts.timer, "belayd.teardown/before-network-record");
  parts.inventory.update(pod, [](PodRecord::Builder record) {
    auto network = record.getNetwork();
    network.setAdded(false);
    network.disownIps();
  });
}

kj::Promise<void> PodTeardown::endShim(Pod& pod) {
  auto podCgroup = kj::str(pod.get().getSpec().getCgroupPath());
  bool clean = false;
  KJ_IF_MAYBE (shim, pod.shim()) {
    if (!pod.isShimDead()) {
      auto failure = co_await attempt(askToRemove(pod, *shim));
      clean = failure == nullptr;
      KJ_IF_MAYBE (reason, failure) {
        log(LogLevel::WARNING, "a pod's shim does not end its pod; it is ended by force", "pod",
            pod.id(), "reason", snapshot::messageOf(*reason));
        shim->kill();
      }
    }
  }
  if (!clean) {
    auto cgroups = KJ_MAP(container, parts.inventory.containersOf(pod)) {
      return kj::str(container->get().getSpec().getCgroupPath());
    };
    co_await endShimByForce(pod.id(), podCgroup, cgroups);
  }
  CO_FAILPOINT(parts.timer, "belayd.teardown/after-shim");
  co_await endCgroup(pod.id(), podCgroup, pod.get().getOwnsCgroup());
  CO_FAILPOINT(parts.timer, "belayd.teardown/after-cgroup");
  auto netns = pod.get().getSpec().getNetnsPath();
  if (netns.size() > 0) removePin(netns);
  CO_FAILPOINT(parts.timer, "belayd.teardown/after-pin");
  co_await parts.cgroups.removeHome(pod.id(), parts.timer);
  CO_FAILPOINT(parts.timer, "belayd.teardown/after-home");
  parts.folders.remove(pod.id());
}

// What is the pod's alone goes with all that is in it. A client's cgroup may be in use by other
// attempts of the pod.
kj::Promise<void> PodTeardown::endCgroup(kj::StringPtr podId, kj::StringPtr path, bool owned) {
  if (path.size() == 0) co_return;
  if (isScopeOfPod(path, podId)) {
    co_await parts.scopes.end(path);
  } else if (isCgroupOfPodAlone(path, podId)) {
    co_await parts.cgroups.destroy(kj::str(path), parts.timer);
  } else if (owned) {
    parts.cgroups.removeIfUnused(path);
  }
}

kj::Promise<void> PodTeardown::askToRemove(Pod& pod, ShimConnection& shim) {
  auto client =
      co_await orLate(parts.timer, SHIM_LIMIT, "the connection to the shim", shim.client());
  auto removing =
      client.removePodRequest().send().then([](auto answer) { requireDone(answer.getOutcome()); });
  co_await orLate(parts.timer, SHIM_LIMIT, "the shim's removal of the pod", kj::mv(removing));
  shim.hangUp();
  co_await orLate(parts.timer, EXIT_LIMIT, "the shim's end", shim.whenDead());
}

// The shim's home has its helpers; containers and the first process of a shared pid namespace have
// cgroups of their own, each of which may hang. The pod's cgroup as a whole is not ours to empty:
// another attempt of the same pod may live in it.
kj::Promise<void> PodTeardown::endShimByForce(kj::StringPtr podId, kj::StringPtr podCgroup,
                                              kj::ArrayPtr<const kj::String> containerCgroups) {
  co_await parts.cgroups.removeHome(podId, parts.timer);
  if (podCgroup.size() > 0) {
    co_await parts.cgroups.destroy(kj::str(podCgroup, "/init-", podId), parts.timer);
  }
  for (auto& cgroup : containerCgroups) {
    if (cgroup.size() > 0) co_await parts.cgroups.destroy(kj::str(cgroup), parts.timer);
  }
}

kj::Promise<void> PodTeardown::sweepFolder(kj::String id) {
  auto record = parts.folders.record(id);
  kj::String podCgroup, netnsPath;
  kj::Vector<kj::String> containerCgroups;
  KJ_IF_MAYBE (found, record) {
    podCgroup = kj::str(found->get().getSpec().getCgroupPath());
    netnsPath = kj::str(found->get().getSpec().getNetnsPath());
    for (auto container : found->get().getPod().getContainers()) {
      containerCgroups.add(kj::str(podCgroup, "/", container.getId()));
    }
  }
  co_await endShimByForce(id, podCgroup, containerCgroups);
  co_await endCgroup(id, podCgroup, false);
  if (netnsPath.size() > 0) removePin(netnsPath);
  parts.folders.remove(id);
}

}  // namespace belay::supervisor
