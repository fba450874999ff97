// Containers: CreateContainer, StartContainer, StopContainer, RemoveContainer,
// UpdateContainerResources, ExecSync, ReopenContainerLog. What changes a container is a named
// operation.
#pragma once

#include "supervisor/image-manager.h"
#include "supervisor/parts.h"
#include "supervisor/pod-teardown.h"
#include "supervisor/runtime.h"

namespace belay::supervisor {

class ContainerManager {
 public:
  ContainerManager(Parts& parts, ImageManager& images, PodTeardown& teardown)
      : parts(parts), images(images), teardown(teardown) {}
  KJ_DISALLOW_COPY_AND_MOVE(ContainerManager);

  // The id of a container whose process waits to be started. A repetition (the same configuration)
  // joins the first request's work, or gets the id of what it made unless that is started; what is
  // left of one that failed, or that a killed belayd had half made, is undone first. Else its name
  // and attempt are ALREADY_EXISTS.
  kj::Promise<kj::String> create(kj::StringPtr podId, Owned<ContainerConfig> config);
  kj::Promise<void> start(kj::StringPtr id);
  // Both are done at once for an unknown id, and for what is stopped or removed already.
  kj::Promise<void> stop(kj::StringPtr id, kj::Duration grace);
  kj::Promise<void> remove(kj::StringPtr id);
  // For containers that no client may see any more.
  kj::Promise<void> discard(kj::Own<Container> container);

  // Changes what `change` sets and keeps the rest: in the container's cgroup, all or nothing, then
  // in its record. FAILED_PRECONDITION once it has exited.
  kj::Promise<void> updateResources(kj::StringPtr id, Owned<LinuxResources> change);

  // No operation: dropping the promise kills what the exec started. `limit` 0 is none.
  kj::Promise<ExecResult> execSync(kj::StringPtr id, kj::Array<kj::String> command,
                                   kj::Duration limit);
  kj::Promise<void> reopenLog(kj::StringPtr id);

  // No operations either; see Runtime.
  kj::Promise<kj::AutoCloseFd> exec(kj::StringPtr id, kj::Array<kj::String> command, bool terminal,
                                    StreamSet streams);
  kj::Promise<kj::AutoCloseFd> attach(kj::StringPtr id, StreamSet streams);

 private:
  // Beyond the grace or time-out that the client chose, before the shim is taken for hung.
  static constexpr kj::Duration SLACK = 20 * kj::SECONDS;

  Parts& parts;
  ImageManager& images;
  PodTeardown& teardown;

  kj::Promise<kj::String> make(Operation& operation, kj::Own<Pod> pod,
                               Owned<ContainerConfig> config);
  kj::Own<Container> recordIntent(Pod& pod, ContainerConfig::Reader config);
  kj::Promise<void> setUp(Operation& operation, Container& container);
  kj::Promise<Owned<shim::ContainerState>> createAnew(Operation& operation, Container& container,
                                                      kj::ArrayPtr<const DeviceNode> devices,
                                                      shim::Shim::Client shim);
  Owned<shim::ContainerSpec> prepareSpec(Operation& operation, Container& container,
                                         kj::ArrayPtr<const DeviceNode> devices);
  kj::String targetOf(Container& container);
  kj::Promise<void> undo(Operation& operation, Container& container);
  kj::Promise<void> removeFromShim(Container& container);

  kj::Promise<kj::String> takeTurnToStart(kj::Own<Container> container, Operation& operation);
  kj::Promise<void> letGo(Container& container);
  kj::Promise<void> learnState(Container& container);
  kj::Promise<kj::String> carryOutStop(kj::Own<Container> container, kj::Duration grace,
                                       Operation& operation);
  kj::Promise<kj::String> takeTurnToUpdate(kj::Own<Container> container,
                                           Owned<LinuxResources> change, Operation& operation);
  kj::Promise<kj::String> takeTurnToRemove(kj::Own<Container> container, Operation& operation);
  kj::Own<Container> getRunning(kj::StringPtr id);
};

}  // namespace belay::supervisor
