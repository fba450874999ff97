// What belayd does first: it meets the shims of all pods that its database knows, takes over what
// has happened since, finishes or undoes what its predecessor was in the middle of, and sweeps away
// what belongs to nobody. Later, too, it gives a pod whose shim has died another one.
#pragma once

#include "snapshot/sys/slots.h"
#include "supervisor/container-manager.h"
#include "supervisor/parts.h"
#include "supervisor/pod-manager.h"
#include "supervisor/pod-teardown.h"
#include "supervisor/succession.h"

namespace belay::supervisor {

class Reconciler : private kj::TaskSet::ErrorHandler {
 public:
  // How long start-up waits for a shim that does not answer.
  static constexpr kj::Duration SHIM_DEADLINE = 5 * kj::SECONDS;

  // After so many times that long it is killed, and another one takes over.
  static constexpr uint DEADLINES_UNTIL_KILLED = 6;

  Reconciler(Parts& parts, PodTeardown& teardown, PodManager& pods, ContainerManager& containers,
             kj::Duration shimDeadline);
  KJ_DISALLOW_COPY_AND_MOVE(Reconciler);

  // Loads the inventory. Resolves when every pod is known as it is now; for one whose shim does not
  // answer, after the deadline, and it is met later. Half-made things are undone in the
  // background. No pod delays another, and no failure of one keeps belayd from starting.
  kj::Promise<void> run();

  // Drops what goes on in the background.
  void stop() { tasks.clear(); }

 private:
  Parts& parts;
  PodTeardown& teardown;
  PodManager& pods;
  ContainerManager& containers;
  Succession succession;
  kj::Duration shimDeadline;
  snapshot::Slots releases;
  kj::TaskSet tasks;

  kj::Promise<void> settle(kj::Own<Pod> pod);
  void settleAfterReboot(Pod& pod);
  kj::Promise<void> inTurn(kj::Function<kj::Promise<void>()> work);
  kj::Promise<void> meet(kj::Own<Pod> pod, ShimConnection& shim);
  kj::Promise<void> takeOver(kj::Own<Pod> pod);
  kj::Promise<kj::HashSet<kj::String>> markLost(Pod& pod);
  kj::Promise<void> removeStranger(kj::Own<Pod> pod, kj::String containerId);
  void shimDied(Pod& pod);
  kj::Promise<void> succeed(kj::Own<Pod> pod);
  void giveUp(Pod& pod, kj::StringPtr reason);
  void finish(Pod& pod);
  void sweep(kj::ArrayPtr<const Owned<ContainerRecord>> homeless);
  void releaseForgottenNetworks();
  void taskFailed(kj::Exception&& exception) override;
};

}  // namespace belay::supervisor
