// Pods: RunPodSandbox, StopPodSandbox, RemovePodSandbox. Each is a named operation; what happens
// within is one pod's turn.
#pragma once

#include "supervisor/parts.h"
#include "supervisor/pod-teardown.h"

namespace belay::supervisor {

class PodManager {
 public:
  PodManager(Parts& parts, PodTeardown& teardown) : parts(parts), teardown(teardown) {}
  KJ_DISALLOW_COPY_AND_MOVE(PodManager);

  // The id of a pod that is ready. A repetition (the same configuration with the same metadata)
  // joins the first request's work or gets its pod's id; what is left of one that failed, or that a
  // killed belayd had half made, is undone first. One with the metadata of a pod that is stopped,
  // or was made otherwise, is ALREADY_EXISTS (kubelet counts `attempt` up for a new one).
  kj::Promise<kj::String> run(Owned<PodConfig> config, kj::String handler);

  // Both are done at once for an unknown id.
  kj::Promise<void> stop(kj::StringPtr id);
  kj::Promise<void> remove(kj::StringPtr id);

  // Remembers what is given; see Runtime. FAILED_PRECONDITION unless the pod is ready.
  kj::Promise<void> updateResources(kj::StringPtr id, kj::Maybe<Owned<LinuxResources>> overhead,
                                    kj::Maybe<Owned<LinuxResources>> resources);

  // A session's socket for dialing into the pod's network. FAILED_PRECONDITION unless it is ready.
  kj::Promise<kj::AutoCloseFd> portForward(kj::StringPtr id);

  // Replaces the program of the pod's shim by the configured one, and gives how many programs have
  // run the pod before it. Waits some seconds for a moment at which nothing is cut off. Throws if
  // it was not done; the shim is as it was then.
  kj::Promise<uint32_t> upgradeShim(kj::Own<Pod> pod);

  // For pods of whom no client knows or should know: those that were being made when belayd died.
  kj::Promise<void> discard(kj::Own<Pod> pod);

 private:
  Parts& parts;
  PodTeardown& teardown;

  kj::Promise<kj::String> make(Operation& operation, Owned<PodConfig> config, kj::String handler);
  bool isRepetition(const Pod& present, PodConfig::Reader config, kj::StringPtr handler);
  kj::Own<Pod> recordIntent(PodConfig::Reader config, kj::StringPtr handler);
  bool ownsCgroup(kj::StringPtr path);
  kj::Promise<void> bringUp(Operation& operation, Pod& pod);
  kj::Promise<void> startShim(Operation& operation, Pod& pod, int folder);
  kj::Promise<void> createPod(Pod& pod);
  kj::Promise<void> attachNetwork(Pod& pod);
  void writeHostsFiles(Pod& pod, int folder);
  kj::Promise<void> undo(Operation& operation, Pod& pod, const kj::Exception& reason);
  kj::Promise<kj::String> takeTurnToStop(kj::Own<Pod> pod, Operation& operation);
  kj::Promise<kj::String> takeTurnToRemove(kj::Own<Pod> pod, Operation& operation);
};

}  // namespace belay::supervisor
