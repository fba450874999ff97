// The end of pods: stopping and removing them, undoing those that could not be made, and clearing
// up after a shim that is dead or does not answer. Every step may be repeated, and a step that
// fails leaves the pod in a state from which it can be tried again.
#pragma once

#include "supervisor/parts.h"

namespace belay::supervisor {

class PodTeardown {
 public:
  explicit PodTeardown(Parts& parts) : parts(parts) {}
  KJ_DISALLOW_COPY_AND_MOVE(PodTeardown);

  // No process of the pod's containers lives afterwards, and its network is released. The shim
  // lives on, to tell how the containers ended.
  kj::Promise<void> stop(Pod& pod);

  // Whatever there is of the pod and its containers is gone afterwards, records last.
  kj::Promise<void> remove(Pod& pod);

  // For a pod whose shim is dead: how its containers ended, as far as the shim wrote it down. The
  // others may live still, and are left as they are; or they are lost.
  enum class Unfinished { LEAVE, LOST };
  void settleByRecord(Pod& pod, Unfinished unfinished);

  // For a pod of another boot, of which nothing lives: its containers have exited, its folder and
  // what they had written to their root file systems are gone (uppers are mounted "volatile", so
  // after a power cut nobody knows what of it is true). A ready pod is left as one to be stopped,
  // for its network's addresses are still taken.
  void settleAfterReboot(Pod& pod);

  // Ends one container whose shim is dead: the signal to its first process, SIGKILL to all that is
  // left after the grace. Learns how it ended if that can be learnt.
  kj::Promise<void> stopWithoutShim(Container& container, int signal, kj::Duration grace);

  // For a folder of a pod that no record knows: no shim, process, pin or folder is left.
  kj::Promise<void> sweepFolder(kj::String id);

 private:
  Parts& parts;

  void applyRecord(Pod& pod);
  kj::Promise<void> stopContainers(Pod& pod);
  kj::Promise<void> askToStop(Pod& pod);
  kj::Promise<void> stopAll(shim::Shim::Client shim, Pod& pod);
  static kj::Promise<void> killContainer(shim::Shim::Client shim, kj::StringPtr id);
  kj::Promise<void> killAllWithoutShim(Pod& pod);
  kj::Promise<void> giveGrace(Container& container, int signal, kj::Duration grace);
  kj::Promise<void> releaseNetwork(Pod& pod);
  kj::Promise<void> endShim(Pod& pod);
  kj::Promise<void> endCgroup(kj::StringPtr podId, kj::StringPtr path, bool owned);
  kj::Promise<void> askToRemove(Pod& pod, ShimConnection& shim);
  kj::Promise<void> endShimByForce(kj::StringPtr podId, kj::StringPtr podCgroup,
                                   kj::ArrayPtr<const kj::String> containerCgroups);
};

}  // namespace belay::supervisor
