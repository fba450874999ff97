// See pod-manager.h.
#include "supervisor/pod-manager.h"

#include <fcntl.h>
#include <kj/debug.h>
#include <string.h>

#include "failpoint/failpoint.h"
#include "snapshot/failure.h"
#include "snapshot/sys/boot.h"
#include "supervisor/attempt.h"
#include "supervisor/ids.h"
#include "supervisor/log.h"
#include "supervisor/shim-descriptor.h"
#include "supervisor/shim-failure.h"
#include "supervisor/spec/cgroup-path.h"
#include "supervisor/spec/pod-files.h"
#include "supervisor/with-shim.h"

namespace belay::supervisor {

namespace {

using snapshot::Code;
using snapshot::fail;

// Shorter than the four minutes that kubelet waits, so that it is told the reason.
constexpr kj::Duration RUN_LIMIT = 3 * kj::MINUTES;

// The shim makes a socket pair, no more.
constexpr kj::Duration FORWARD_LIMIT = 20 * kj::SECONDS;

// A container's start or a probe takes milliseconds.
constexpr kj::Duration UPGRADE_LIMIT = 500 * kj::MILLISECONDS;
constexpr kj::Duration UPGRADE_PAUSE = 500 * kj::MILLISECONDS;
constexpr uint UPGRADE_ATTEMPTS = 20;

// "default/web", for operations and logs.
kj::String nameOf(PodConfig::Reader config) {
  return kj::str(config.getNamespace(), '/', config.getName());
}

}  // namespace

kj::Promise<kj::String> PodManager::run(Owned<PodConfig> config, kj::String handler) {
  auto reader = config.get();
  auto name = kj::str("run-pod-sandbox ", nameOf(reader), " ", reader.getUid(), " attempt ",
                      reader.getAttempt());
  kj::Vector<kj::byte> request;
  request.addAll(config.bytes());
  request.addAll(handler.asBytes());
  return parts.operations.run(
      kj::mv(name), request,
      [this, config, handler = kj::mv(handler)](Operation& operation) mutable {
        return make(operation, kj::mv(config), kj::mv(handler));
      });
}

kj::Promise<kj::String> PodManager::make(Operation& operation, Owned<PodConfig> config,
                                         kj::String handler) {
  operation.enter("check the request");
  for (auto& present : parts.inventory.podsNamed(config.get())) {
    if (present->stage() == PodStage::CREATING || present->stage() == PodStage::REMOVING) {
      operation.enter("wait until what is left of an earlier try is gone");
      co_await operation.within(RUN_LIMIT, discard(kj::mv(present)));
      continue;
    }
    if (!isRepetition(*present, config.get(), handler)) {
      fail(Code::ALREADY_EXISTS, "pod sandbox ", present->id(),
           " has this name, namespace, uid and attempt already, and another configuration: a "
           "repetition cannot change it; remove it, or count attempt up");
    }
    if (present->stage() == PodStage::READY && !present->isShimDead()) {
      co_return kj::str(present->id());
    }
    fail(Code::ALREADY_EXISTS, "pod sandbox ", present->id(),
         " has this name, namespace, uid and attempt already, and is not ready any more: remove "
         "it, or count attempt up");
  }
  auto pod = recordIntent(config.get(), handler);
  CO_FAILPOINT(parts.timer, "belayd.run-pod-sandbox/after-intent");
  auto turn = co_await pod->turns.take();
  KJ_IF_MAYBE (failure, co_await attempt(operation.within(RUN_LIMIT, bringUp(operation, *pod)))) {
    operation.beginUndo();
    co_await undo(operation, *pod, *failure);
    kj::throwFatalException(kj::mv(*failure));
  }
  log(LogLevel::INFO, "pod is ready", "pod", pod->id(), "name", nameOf(pod->get().getConfig()));
  co_return kj::str(pod->id());
}

// Resources may have been changed since by calls of their own.
bool PodManager::isRepetition(const Pod& present, PodConfig::Reader config, kj::StringPtr handler) {
  KJ_IF_MAYBE (known, parts.config.handler(handler)) {
    if (present.get().getRuntimeHandler() != known->name) return false;
  }
  auto without = [](PodConfig::Reader config) {
    return Owned<PodConfig>(config).with([](PodConfig::Builder builder) {
      builder.disownOverhead();
      builder.disownResources();
    });
  };
  return capnp::toAny(without(present.get().getConfig()).get()) ==
         capnp::toAny(without(config).get());
}

// Checks all that can be checked without doing anything, and writes down what is going to be done:
// what CNI's DEL will need is in the database before ADD.
kj::Own<Pod> PodManager::recordIntent(PodConfig::Reader config, kj::StringPtr handler) {
  KJ_IF_MAYBE (known, parts.config.handler(handler)) {
    handler = known->name;
  } else {
    fail(Code::NOT_FOUND, "runtime_handler: there is no runtime handler ", handler,
         " in the configuration (key runtime.handlers)");
  }
  auto id = newId();
  bool ownNetwork = config.getSecurity().getNamespaces().getNetwork() != shim::NamespaceMode::NODE;
  auto netnsPath = ownNetwork ? kj::str("/run/netns/cni-", newUuid()) : kj::String();
  auto spec = buildPodSpec(parts.specOptions, id, config, netnsPath);
  kj::Maybe<Owned<NetworkAttachment>> network;
  if (ownNetwork) network = parts.cni.prepare(id, config, netnsPath);
  return parts.inventory.add(Owned<PodRecord>::make([&](PodRecord::Builder record) {
    record.setId(id);
    record.setConfig(config);
    record.setRuntimeHandler(handler);
    record.setStage(PodStage::CREATING);
    record.setCreatedAtNs(wallClockNs());
    record.setSpec(spec.get());
    record.setOwnsCgroup(ownsCgroup(spec.get().getCgroupPath()));
    record.setBootId(snapshot::bootId());
    KJ_IF_MAYBE (attachment, network) {
      record.setNetwork(attachment->get());
    }
  }));
}

// kubelet makes a pod's cgroup itself, for all attempts of the pod, and removes it in the end.
bool PodManager::ownsCgroup(kj::StringPtr path) {
  for (auto& pod : parts.inventory.allPods()) {
    if (pod->get().getSpec().getCgroupPath() == path) return pod->get().getOwnsCgroup();
  }
  return !parts.cgroups.exists(path);
}

kj::Promise<void> PodManager::bringUp(Operation& operation, Pod& pod) {
  operation.enter("start the shim");
  auto folder = parts.folders.make(pod.id());
  CO_FAILPOINT(parts.timer, "belayd.run-pod-sandbox/after-folder");
  co_await startShim(operation, pod, folder);
  CO_FAILPOINT(parts.timer, "belayd.run-pod-sandbox/after-namespaces");
  if (pod.get().hasNetwork()) {
    operation.enter("add the pod to its network");
    co_await attachNetwork(pod);
    CO_FAILPOINT(parts.timer, "belayd.run-pod-sandbox/after-network-record");
  }
  operation.enter("write the pod's hosts files");
  writeHostsFiles(pod, folder);
  CO_FAILPOINT(parts.timer, "belayd.run-pod-sandbox/before-ready-record");
  parts.inventory.update(pod, [](PodRecord::Builder record) { record.setStage(PodStage::READY); });
  CO_FAILPOINT(parts.timer, "belayd.run-pod-sandbox/after-ready-record");
}

kj::Promise<void> PodManager::startShim(Operation& operation, Pod& pod, int folder) {
  auto started = parts.launcher.start(pod.id(), parts.folders.pathOf(pod.id()), folder);
  auto& connection = pod.newConnection(parts.io, parts.port, parts.timer, folder);
  connection.attach(kj::mv(started.socket), kj::mv(started.pidfd));
  CO_FAILPOINT(parts.timer, "belayd.run-pod-sandbox/after-shim-start");
  // That the program could not be executed, or ended at once, says more than the broken connection.
  auto death = started.child->wait().then([&](snapshot::ExitStatus status) {
    fail(Code::INTERNAL, "belay-shim ended right after its start with ", status.describe(), ": ",
         shimLogTail(folder));
  });
  auto cgroup = pod.get().getSpec().getCgroupPath();
  if (isScopeOfPod(cgroup, pod.id())) {
    operation.enter("have systemd make the pod's scope");
    co_await parts.scopes.ensure(pod.id(), cgroup);
  }
  operation.enter("make the pod's namespaces and cgroup");
  co_await createPod(pod).exclusiveJoin(kj::mv(death));
}

kj::Promise<void> PodManager::createPod(Pod& pod) {
  auto client = co_await pod.client();
  auto request = client.createPodRequest();
  request.setSpec(pod.get().getSpec());
  auto answer = co_await request.send();
  requireDone(answer.getOutcome());
}

kj::Promise<void> PodManager::attachNetwork(Pod& pod) {
  auto attached = co_await parts.cni.add(Owned<NetworkAttachment>(pod.get().getNetwork()));
  CO_FAILPOINT(parts.timer, "belayd.run-pod-sandbox/before-network-record");
  parts.inventory.update(pod,
                         [&](PodRecord::Builder record) { record.setNetwork(attached.get()); });
}

void PodManager::writeHostsFiles(Pod& pod, int folder) {
  auto ips = KJ_MAP(ip, pod.get().getNetwork().getIps()) {
    return kj::StringPtr(ip);
  };
  auto spec = pod.get().getSpec();
  auto files = renderPodFiles(pod.get().getConfig(), spec.getHostname(), ips, readHostFiles());
  writePodFiles(folder, files, spec.getIds().getFirstHostId());
}

// What cannot be undone stays listed as a pod that is not ready, so that kubelet removes it.
kj::Promise<void> PodManager::undo(Operation& operation, Pod& pod, const kj::Exception& reason) {
  auto text = kj::str(snapshot::messageOf(reason));
  log(LogLevel::WARNING, "pod could not be made", "name", nameOf(pod.get().getConfig()), "reason",
      text);
  CO_FAILPOINT(parts.timer, "belayd.run-pod-sandbox/before-undo");
  KJ_IF_MAYBE (failure, co_await attempt(teardown.remove(pod))) {
    log(LogLevel::ERROR, "what was made of a pod could not be undone; it stays until it is removed",
        "pod", pod.id(), "reason", snapshot::messageOf(*failure));
    parts.inventory.update(pod, [&](PodRecord::Builder record) {
      record.setStage(PodStage::REMOVING);
      record.setError(text);
    });
  }
}

kj::Promise<void> PodManager::stop(kj::StringPtr id) {
  KJ_IF_MAYBE (pod, parts.inventory.findPod(id)) {
    auto name = kj::str("stop-pod-sandbox ", (*pod)->id());
    return parts.operations
        .run(kj::mv(name),
             [this, pod = kj::mv(*pod)](Operation& operation) mutable {
               return takeTurnToStop(kj::mv(pod), operation);
             })
        .ignoreResult();
  }
  return kj::READY_NOW;
}

kj::Promise<kj::String> PodManager::takeTurnToStop(kj::Own<Pod> pod, Operation& operation) {
  operation.enter("wait for the pod's turn");
  auto turn = co_await pod->turns.take();
  operation.enter("stop the pod's containers and release its network");
  bool wasReady = pod->stage() == PodStage::READY;
  if (wasReady) {
    parts.inventory.update(*pod,
                           [](PodRecord::Builder record) { record.setStage(PodStage::STOPPING); });
    CO_FAILPOINT(parts.timer, "belayd.stop-pod-sandbox/after-stopping-record");
  }
  co_await teardown.stop(*pod);
  CO_FAILPOINT(parts.timer, "belayd.stop-pod-sandbox/before-stopped-record");
  if (pod->stage() == PodStage::STOPPING) {
    parts.inventory.update(*pod,
                           [](PodRecord::Builder record) { record.setStage(PodStage::NOT_READY); });
    CO_FAILPOINT(parts.timer, "belayd.stop-pod-sandbox/after-stopped-record");
    log(LogLevel::INFO, "pod is stopped", "pod", pod->id());
  }
  co_return kj::String();
}

kj::Promise<void> PodManager::updateResources(kj::StringPtr id,
                                              kj::Maybe<Owned<LinuxResources>> overhead,
                                              kj::Maybe<Owned<LinuxResources>> resources) {
  auto pod = parts.inventory.getPod(id);
  auto turn = co_await pod->turns.take();
  if (pod->stage() != PodStage::READY) {
    fail(Code::FAILED_PRECONDITION, "pod sandbox ", pod->id(), " is not ready");
  }
  parts.inventory.update(*pod, [&](PodRecord::Builder record) {
    KJ_IF_MAYBE (given, overhead) record.getConfig().setOverhead(given->get());
    KJ_IF_MAYBE (given, resources) record.getConfig().setResources(given->get());
  });
}

kj::Promise<void> PodManager::remove(kj::StringPtr id) {
  KJ_IF_MAYBE (pod, parts.inventory.findPod(id)) {
    return discard(kj::mv(*pod));
  }
  return kj::READY_NOW;
}

kj::Promise<void> PodManager::discard(kj::Own<Pod> pod) {
  auto name = kj::str("remove-pod-sandbox ", pod->id());
  return parts.operations
      .run(kj::mv(name),
           [this, pod = kj::mv(pod)](Operation& operation) mutable {
             return takeTurnToRemove(kj::mv(pod), operation);
           })
      .ignoreResult();
}

kj::Promise<kj::String> PodManager::takeTurnToRemove(kj::Own<Pod> pod, Operation& operation) {
  operation.enter("wait for the pod's turn");
  auto turn = co_await pod->turns.take();
  if (parts.inventory.isGone(*pod)) co_return kj::String();
  operation.enter("remove the pod");
  parts.inventory.update(*pod,
                         [](PodRecord::Builder record) { record.setStage(PodStage::REMOVING); });
  CO_FAILPOINT(parts.timer, "belayd.remove-pod-sandbox/after-removing-record");
  co_await teardown.remove(*pod);
  CO_FAILPOINT(parts.timer, "belayd.remove-pod-sandbox/after-removal");
  log(LogLevel::INFO, "pod is removed", "pod", pod->id());
  co_return kj::String();
}

kj::Promise<uint32_t> PodManager::upgradeShim(kj::Own<Pod> pod) {
  if (pod->isShimDead() || pod->shim() == nullptr) {
    fail(Code::FAILED_PRECONDITION, "pod sandbox ", pod->id(), " has no shim");
  }
  for (uint attempts = 1;; attempts++) {
    int program;
    KJ_SYSCALL_HANDLE_ERRORS(program = open(parts.config.shimPath.cStr(), O_PATH | O_CLOEXEC)) {
      default:
        fail(Code::FAILED_PRECONDITION, "cannot open ", parts.config.shimPath, ": ",
             strerror(error));
    }
    auto& shim = KJ_ASSERT_NONNULL(pod->shim());
    uint32_t generation = 0;
    auto failure = co_await attempt(
        shim.upgrade(kj::AutoCloseFd(program), UPGRADE_LIMIT).then([&](uint32_t value) {
          generation = value;
        }));
    KJ_IF_MAYBE (reason, failure) {
      // Calls are held up while it is waited for: often and shortly, rather than once and long.
      bool busy = snapshot::codeOf(*reason) == Code::DEADLINE_EXCEEDED;
      if (!busy || attempts == UPGRADE_ATTEMPTS) kj::throwFatalException(kj::mv(*reason));
      co_await parts.timer.afterDelay(UPGRADE_PAUSE);
    } else {
      log(LogLevel::INFO, "a pod's shim is replaced", "pod", pod->id(), "generation", generation);
      co_return generation;
    }
  }
}

kj::Promise<kj::AutoCloseFd> PodManager::portForward(kj::StringPtr id) {
  auto pod = parts.inventory.getPod(id);
  if (pod->stage() != PodStage::READY) {
    fail(Code::FAILED_PRECONDITION, "pod sandbox ", pod->id(), " is not ready");
  }
  auto asking = withShim(parts.timer, *pod, [](shim::Shim::Client shim) {
    return shim.portForwardRequest().send().dropPipeline();
  });
  auto answer = co_await orLate(parts.timer, FORWARD_LIMIT, "the shim's answer", kj::mv(asking));
  requireDone(answer.getOutcome());
  co_return co_await receiveDescriptor(answer.getSession());
}

}  // namespace belay::supervisor
