// See container-manager.h.
#include "supervisor/container-manager.h"

#include <kj/debug.h>
#include <signal.h>

#include "failpoint/failpoint.h"
#include "snapshot/failure.h"
#include "supervisor/attempt.h"
#include "supervisor/call-container.h"
#include "supervisor/device-lookup.h"
#include "supervisor/ids.h"
#include "supervisor/log.h"
#include "supervisor/shim-failure.h"
#include "supervisor/spec/cgroup-path.h"

namespace belay::supervisor {

namespace {

using snapshot::Code;
using snapshot::fail;

// Shorter than the two minutes that kubelet waits, so that it is told the reason.
constexpr kj::Duration CREATE_LIMIT = 100 * kj::SECONDS;
constexpr kj::Duration START_LIMIT = 60 * kj::SECONDS;

void writeRootfs(shim::Rootfs::Builder rootfs, const snapshot::RootfsMount& mount) {
  auto lower = rootfs.initLower(mount.lower.size());
  for (size_t i = 0; i < mount.lower.size(); ++i)
    lower.set(i, mount.lower[i]);
  rootfs.setUpper(mount.upper);
  rootfs.setWork(mount.work);
  auto options = rootfs.initOptions(mount.options.size());
  for (size_t i = 0; i < mount.options.size(); ++i)
    options.set(i, mount.options[i]);
}

// Resources may have been changed since by a call of its own.
bool isSame(ContainerConfig::Reader present, ContainerConfig::Reader requested) {
  auto without = [](ContainerConfig::Reader config) {
    return Owned<ContainerConfig>(config).with(
        [](ContainerConfig::Builder builder) { builder.disownResources(); });
  };
  return capnp::toAny(without(present).get()) == capnp::toAny(without(requested).get());
}

kj::Promise<Owned<shim::ContainerState>> createOnce(shim::Shim::Client shim,
                                                    Owned<shim::ContainerSpec> spec) {
  auto request = shim.createContainerRequest();
  request.setSpec(spec.get());
  auto answer = co_await request.send();
  requireDone(answer.getOutcome());
  auto state = co_await answer.getContainer().stateRequest().send();
  co_return Owned<shim::ContainerState>(state.getState());
}

// False if the shim has none of that id.
kj::Promise<bool> removeOnce(shim::Shim::Client shim, kj::StringPtr id) {
  auto lookup = shim.containerRequest();
  lookup.setId(id);
  auto found = co_await lookup.send();
  if (isNotFound(found.getOutcome())) co_return false;
  requireDone(found.getOutcome());
  auto answer = co_await found.getContainer().removeRequest().send();
  requireDone(answer.getOutcome());
  co_return true;
}

kj::Array<snapshot::Digest> chainIdsOf(snapshot::Image::Reader image) {
  return KJ_MAP(layer, image.getLayers()) {
    return snapshot::Digest::parse(layer.getChainId(), "chain id of the image's layer");
  };
}

}  // namespace

kj::Promise<kj::String> ContainerManager::create(kj::StringPtr podId,
                                                 Owned<ContainerConfig> config) {
  auto pod = parts.inventory.getPod(podId);
  auto name = kj::str("create-container ", pod->id(), ' ', config.get().getName(), " attempt ",
                      config.get().getAttempt());
  auto request = config.bytes();
  return parts.operations.run(kj::mv(name), request,
                              [this, pod = kj::mv(pod), config](Operation& operation) mutable {
                                return make(operation, kj::mv(pod), kj::mv(config));
                              });
}

kj::Promise<kj::String> ContainerManager::make(Operation& operation, kj::Own<Pod> pod,
                                               Owned<ContainerConfig> config) {
  operation.enter("check the request");
  auto name = config.get().getName();
  auto attemptNumber = config.get().getAttempt();
  for (auto& present : parts.inventory.containersNamed(*pod, name, attemptNumber)) {
    if (present->get().getCreating() || present->get().getRemoving()) {
      operation.enter("wait until what is left of an earlier try is gone");
      co_await operation.within(CREATE_LIMIT, discard(kj::mv(present)));
      continue;
    }
    bool same = isSame(present->get().getConfig(), config.get());
    if (same && present->state() == ContainerView::State::CREATED) {
      co_return kj::str(present->id());
    }
    fail(Code::ALREADY_EXISTS, "container ", present->id(), " of pod ", pod->id(), " has the name ",
         name, " and attempt ", attemptNumber,
         same ? " already" : " already, and another configuration",
         ": remove it, or count attempt up");
  }
  auto container = recordIntent(*pod, config.get());
  CO_FAILPOINT(parts.timer, "belayd.create-container/after-intent");
  // Stopping the pod cancels it.
  auto work = pod->creations.wrap(operation.within(CREATE_LIMIT, setUp(operation, *container)));
  KJ_IF_MAYBE (failure, co_await attempt(kj::mv(work))) {
    operation.beginUndo();
    co_await undo(operation, *container);
    kj::throwFatalException(kj::mv(*failure));
  }
  log(LogLevel::INFO, "container is created", "container", container->id(), "pod", pod->id(),
      "name", name);
  co_return kj::str(container->id());
}

kj::Own<Container> ContainerManager::recordIntent(Pod& pod, ContainerConfig::Reader config) {
  if (pod.stage() != PodStage::READY || pod.isShimDead()) {
    fail(Code::FAILED_PRECONDITION, "pod sandbox ", pod.id(), " is not ready");
  }
  auto image = images.require(config.getImage());
  return parts.inventory.add(pod,
                             Owned<ContainerRecord>::make([&](ContainerRecord::Builder record) {
                               record.setId(newId());
                               record.setPodId(pod.id());
                               record.setConfig(config);
                               record.setImageId(image.get().getId());
                               record.setImageRef(image.get().getId());
                               record.setCreatedAtNs(wallClockNs());
                               record.setCreating(true);
                             }));
}

kj::Promise<void> ContainerManager::setUp(Operation& operation, Container& container) {
  operation.enter("look at the devices it asks for");
  auto devices = co_await lookUpDevices(container.get().getConfig());
  operation.enter("prepare the root file system");
  auto spec = prepareSpec(operation, container, devices);
  CO_FAILPOINT(parts.timer, "belayd.create-container/after-spec-record");
  auto podCgroup = container.pod().get().getSpec().getCgroupPath();
  if (isScopeOfPod(podCgroup, container.pod().id())) {
    operation.enter("see that the pod's scope is there");
    co_await parts.scopes.ensure(container.pod().id(), podCgroup);
  }
  operation.enter("set the container up");
  bool again = false;
  auto state =
      co_await withShim(parts.timer, container.pod(),
                        [&](shim::Shim::Client shim) -> kj::Promise<Owned<shim::ContainerState>> {
                          if (!again) {
                            again = true;
                            return createOnce(kj::mv(shim), kj::mv(spec));
                          }
                          return createAnew(operation, container, devices, kj::mv(shim));
                        });
  CO_FAILPOINT(parts.timer, "belayd.create-container/after-shim");
  parts.inventory.update(container, [&](ContainerRecord::Builder record) {
    record.setLast(state.get());
    record.setCreating(false);
  });
  CO_FAILPOINT(parts.timer, "belayd.create-container/after-record");
}

// After a shim was lost in the middle of it: an overlay that was mounted cannot be mounted again.
kj::Promise<Owned<shim::ContainerState>> ContainerManager::createAnew(
    Operation& operation, Container& container, kj::ArrayPtr<const DeviceNode> devices,
    shim::Shim::Client shim) {
  // What there is of it has to be gone first.
  co_await removeOnce(shim, container.id());
  parts.snapshotter.remove(container.id());
  auto spec = prepareSpec(operation, container, devices);
  co_return co_await createOnce(kj::mv(shim), kj::mv(spec));
}

Owned<shim::ContainerSpec> ContainerManager::prepareSpec(Operation& operation, Container& container,
                                                         kj::ArrayPtr<const DeviceNode> devices) {
  auto image = images.require(container.get().getImageId());
  auto mount = parts.snapshotter.prepare(container.id(), chainIdsOf(image.get()));
  capnp::MallocMessageBuilder message;
  auto rootfs = message.initRoot<shim::Rootfs>();
  writeRootfs(rootfs, mount);

  operation.enter("build the container's specification");
  auto target = targetOf(container);
  auto folder = parts.folders.pathOf(container.pod().id());
  auto spec = buildContainerSpec(parts.specOptions, parts.seccomp,
                                 {
                                     .id = container.id(),
                                     .config = container.get().getConfig(),
                                     .pod = container.pod().get().getConfig(),
                                     .podSpec = container.pod().get().getSpec(),
                                     .image = image.get(),
                                     .rootfs = rootfs.asReader(),
                                     .podFilesDir = folder,
                                     .targetContainerId = target,
                                     .devices = devices,
                                 });
  FAILPOINT("belayd.create-container/after-snapshot");
  // Before the shim is asked: whoever cleans up after a crash must know the cgroup.
  parts.inventory.update(container,
                         [&](ContainerRecord::Builder record) { record.setSpec(spec.get()); });
  return spec;
}

// Full id of the container whose pid namespace is to be shared; empty without one.
kj::String ContainerManager::targetOf(Container& container) {
  auto options = container.get().getConfig().getSecurity().getNamespaces();
  if (options.getPid() != shim::NamespaceMode::TARGET) return kj::String();
  KJ_IF_MAYBE (target, parts.inventory.findContainer(options.getTargetId())) {
    if (&(*target)->pod() == &container.pod()) return kj::str((*target)->id());
  }
  fail(Code::INVALID_ARGUMENT,
       "linux.security_context.namespace_options.target_id: ", options.getTargetId(),
       " is no container of this pod");
}

kj::Promise<void> ContainerManager::undo(Operation& operation, Container& container) {
  KJ_IF_MAYBE (failure, co_await attempt(removeFromShim(container))) {
    // Its record stays, unseen; removing the pod, or the next start of belayd, ends it.
    log(LogLevel::ERROR, "what was made of a container could not be undone", "container",
        container.id(), "reason", snapshot::messageOf(*failure));
    co_return;
  }
  if (parts.inventory.isGone(container)) co_return;
  CO_FAILPOINT(parts.timer, "belayd.create-container/undo-after-shim");
  parts.snapshotter.remove(container.id());
  CO_FAILPOINT(parts.timer, "belayd.create-container/undo-after-snapshot");
  parts.inventory.remove(container);
}

// Also when the shim never heard of it.
kj::Promise<void> ContainerManager::removeFromShim(Container& container) {
  if (container.pod().isShimDead()) {
    co_await teardown.stopWithoutShim(container, SIGKILL, 0 * kj::SECONDS);
    // One that had exited before has a cgroup, too.
    auto cgroup = container.get().getSpec().getCgroupPath();
    if (cgroup.size() > 0) co_await parts.cgroups.destroy(kj::str(cgroup), parts.timer);
    co_return;
  }
  auto removing = withShim(parts.timer, container.pod(), [&](shim::Shim::Client shim) {
    return removeOnce(kj::mv(shim), container.id());
  });
  bool found =
      co_await orLate(parts.timer, SLACK, "the shim's removal of the container", kj::mv(removing));
  if (!found) {
    // One whose creation was cut short is not found there while it is taken away, and a process
    // that hangs in the kernel keeps its cgroup.
    auto cgroup = container.get().getSpec().getCgroupPath();
    if (cgroup.size() > 0) co_await parts.cgroups.whenGone(kj::str(cgroup), parts.timer, SLACK);
  }
  parts.held.releaseAllOf(container.id());
}

kj::Promise<void> ContainerManager::start(kj::StringPtr id) {
  auto container = parts.inventory.getContainer(id);
  auto name = kj::str("start-container ", container->id());
  return parts.operations
      .run(kj::mv(name),
           [this, container = kj::mv(container)](Operation& operation) mutable {
             return takeTurnToStart(kj::mv(container), operation);
           })
      .ignoreResult();
}

kj::Promise<kj::String> ContainerManager::takeTurnToStart(kj::Own<Container> container,
                                                          Operation& operation) {
  operation.enter("wait for the container's turn");
  auto turn = co_await container->turns.take();
  operation.enter("start the container's process");
  if (container->pod().stage() != PodStage::READY) {
    fail(Code::FAILED_PRECONDITION, "pod sandbox ", container->pod().id(), " is not ready");
  }
  co_await operation.within(START_LIMIT, letGo(*container));
  log(LogLevel::INFO, "container is started", "container", container->id());
  co_return kj::String();
}

kj::Promise<void> ContainerManager::letGo(Container& container) {
  CO_FAILPOINT(parts.timer, "belayd.start-container/before-shim");
  auto answer = co_await callContainer(
      parts.timer, container.pod(), container.id(),
      [](shim::Container::Client target) { return target.startRequest().send(); });
  CO_FAILPOINT(parts.timer, "belayd.start-container/after-shim");
  co_await learnState(container);
  CO_FAILPOINT(parts.timer, "belayd.start-container/after-record");
  requireDone(answer.getOutcome());
}

kj::Promise<void> ContainerManager::stop(kj::StringPtr id, kj::Duration grace) {
  KJ_IF_MAYBE (container, parts.inventory.findContainer(id)) {
    if ((*container)->hasExited()) return kj::READY_NOW;
    // Not joined with one of another grace: the shim lets the shorter one win.
    auto name =
        kj::str("stop-container ", (*container)->id(), " grace ", grace / kj::SECONDS, " s");
    return parts.operations
        .run(kj::mv(name),
             [this, container = kj::mv(*container), grace](Operation& operation) mutable {
               return carryOutStop(kj::mv(container), grace, operation);
             })
        .ignoreResult();
  }
  return kj::READY_NOW;
}

kj::Promise<kj::String> ContainerManager::carryOutStop(kj::Own<Container> container,
                                                       kj::Duration grace, Operation& operation) {
  operation.enter("stop the container");
  int configured = container->get().getSpec().getStopSignal();
  int signal = configured == 0 ? SIGTERM : configured;
  if (container->pod().isShimDead()) {
    co_await teardown.stopWithoutShim(*container, signal, grace);
    co_return kj::String();
  }
  CO_FAILPOINT(parts.timer, "belayd.stop-container/before-shim");
  auto end = parts.timer.now() + grace;
  auto stopping = callContainer(parts.timer, container->pod(), container->id(),
                                [&](shim::Container::Client target) {
                                  auto request = target.stopRequest();
                                  request.setSignal(signal);
                                  // A shim that takes over has what is left of it.
                                  auto left = kj::max(end - parts.timer.now(), 0 * kj::SECONDS);
                                  request.setGraceMs(left / kj::MILLISECONDS);
                                  return request.send();
                                });
  auto stopped = operation.within(grace + SLACK, kj::mv(stopping)).then([](auto answer) {
    requireDone(answer.getOutcome());
  });
  KJ_IF_MAYBE (failure, co_await attempt(stopped.then([&] { return learnState(*container); }))) {
    // Removed by another call meanwhile: that stopped it, too.
    bool removed = parts.inventory.isGone(*container) || container->get().getRemoving();
    if (!removed) kj::throwFatalException(kj::mv(*failure));
  }
  CO_FAILPOINT(parts.timer, "belayd.stop-container/after-shim");
  co_return kj::String();
}

// The watcher may not have told yet; after the answer no client may see an older state.
kj::Promise<void> ContainerManager::learnState(Container& container) {
  auto state = co_await callContainer(
      parts.timer, container.pod(), container.id(),
      [](shim::Container::Client target) { return target.stateRequest().send(); });
  parts.inventory.apply(container.pod(), state.getState());
}

kj::Promise<void> ContainerManager::remove(kj::StringPtr id) {
  KJ_IF_MAYBE (container, parts.inventory.findContainer(id)) {
    return discard(kj::mv(*container));
  }
  return kj::READY_NOW;
}

kj::Promise<void> ContainerManager::discard(kj::Own<Container> container) {
  auto name = kj::str("remove-container ", container->id());
  return parts.operations
      .run(kj::mv(name),
           [this, container = kj::mv(container)](Operation& operation) mutable {
             return takeTurnToRemove(kj::mv(container), operation);
           })
      .ignoreResult();
}

kj::Promise<kj::String> ContainerManager::takeTurnToRemove(kj::Own<Container> container,
                                                           Operation& operation) {
  operation.enter("wait for the container's turn");
  auto turn = co_await container->turns.take();
  if (parts.inventory.isGone(*container)) co_return kj::String();
  operation.enter("remove the container");
  parts.inventory.update(*container,
                         [](ContainerRecord::Builder record) { record.setRemoving(true); });
  CO_FAILPOINT(parts.timer, "belayd.remove-container/after-removing-record");
  auto failure = co_await attempt(removeFromShim(*container));
  if (failure != nullptr && container->pod().stage() == PodStage::REMOVING) {
    // The pod's removal took the shim away; it takes the container away, too.
    co_await container->pod().turns.take();
  }
  if (parts.inventory.isGone(*container)) co_return kj::String();
  KJ_IF_MAYBE (reason, failure) {
    kj::throwFatalException(kj::mv(*reason));
  }
  CO_FAILPOINT(parts.timer, "belayd.remove-container/after-shim");
  parts.snapshotter.remove(container->id());
  CO_FAILPOINT(parts.timer, "belayd.remove-container/after-snapshot");
  parts.inventory.remove(*container);
  CO_FAILPOINT(parts.timer, "belayd.remove-container/after-record");
  log(LogLevel::INFO, "container is removed", "container", container->id());
  co_return kj::String();
}

}  // namespace belay::supervisor
