// See runtime-impl.h.
#include "supervisor/runtime-impl.h"

#include <capnp/compat/json.h>
#include <kj/debug.h>

namespace belay::supervisor {

namespace {

// Longer than any client waits: a century, so that no sum of it and a moment overflows.
constexpr int64_t MAX_SECONDS = 100ll * 365 * 24 * 3600;

kj::Duration secondsOf(int64_t seconds) {
  return kj::max<int64_t>(0, kj::min(seconds, MAX_SECONDS)) * kj::SECONDS;
}

// The configuration as TOML within JSON: {"config": "..."}.
kj::String configJson(const Config& config) {
  capnp::JsonCodec codec;
  capnp::MallocMessageBuilder message;
  auto object = message.initRoot<capnp::json::Value>().initObject(1);
  object[0].setName("config");
  object[0].initValue().setString(dump(config));
  return codec.encodeRaw(message.getRoot<capnp::json::Value>());
}

}  // namespace

RuntimeImpl::RuntimeImpl(Parts& parts, kj::Duration shimDeadline)
    : parts(parts),
      imageList(parts),
      teardown(parts),
      podList(parts, teardown),
      containerList(parts, imageList, teardown),
      usage(parts),
      reconciler(parts, teardown, podList, containerList, shimDeadline) {}

void RuntimeImpl::retire() {
  reconciler.stop();
  parts.operations.dropAll();
  for (auto& pod : parts.inventory.allPods()) {
    KJ_IF_MAYBE (shim, pod->shim()) shim->retire();
  }
  parts.database.close();
}

kj::Promise<RuntimeStatus> RuntimeImpl::status(bool verbose) {
  co_await machineTried.addBranch();
  auto network = co_await parts.cni.status();
  kj::Vector<Condition> conditions;
  conditions.add(Condition{kj::str("RuntimeReady"), true, kj::String(), kj::String()});
  conditions.add(Condition{kj::str("NetworkReady"), network.ready, kj::mv(network.reason),
                           kj::mv(network.message)});
  kj::Vector<HandlerView> handlers;
  // The default one also answers to the empty name.
  bool userNamespaces = parts.specOptions.userNamespaceFault.size() == 0;
  handlers.add(HandlerView{
      .name = kj::String(), .recursiveReadOnlyMounts = true, .userNamespaces = userNamespaces});
  for (auto& handler : parts.config.handlers) {
    handlers.add(HandlerView{.name = kj::str(handler.name),
                             .recursiveReadOnlyMounts = true,
                             .userNamespaces = userNamespaces});
  }
  co_return RuntimeStatus{
      .conditions = conditions.releaseAsArray(),
      .handlers = handlers.releaseAsArray(),
      .supplementalGroupsPolicy = true,
      .userNamespacesHostNetwork = userNamespaces,
      .configJson = verbose ? configJson(parts.config) : kj::String(),
  };
}

kj::Promise<kj::String> RuntimeImpl::runPodSandbox(Owned<PodConfig> config, kj::String handler) {
  co_await machineTried.addBranch();
  co_return co_await podList.run(kj::mv(config), kj::mv(handler));
}

kj::Promise<void> RuntimeImpl::stopPodSandbox(kj::String id) {
  return podList.stop(id);
}

kj::Promise<void> RuntimeImpl::removePodSandbox(kj::String id) {
  return podList.remove(id);
}

kj::Promise<void> RuntimeImpl::updatePodSandboxResources(
    kj::String id, kj::Maybe<Owned<LinuxResources>> overhead,
    kj::Maybe<Owned<LinuxResources>> resources) {
  return podList.updateResources(id, kj::mv(overhead), kj::mv(resources));
}

PodView RuntimeImpl::podSandbox(kj::StringPtr id) {
  return parts.inventory.view(*parts.inventory.getPod(id));
}

kj::Array<PodView> RuntimeImpl::podSandboxes() {
  kj::Vector<PodView> views;
  for (auto& pod : parts.inventory.allPods()) {
    if (pod->stage() != PodStage::CREATING) views.add(parts.inventory.view(*pod));
  }
  return views.releaseAsArray();
}

// The pod's configuration was given when it was made, and counts.
kj::Promise<kj::String> RuntimeImpl::createContainer(kj::String podId,
                                                     Owned<ContainerConfig> config,
                                                     Owned<PodConfig>) {
  co_await machineTried.addBranch();
  co_return co_await containerList.create(podId, kj::mv(config));
}

kj::Promise<void> RuntimeImpl::startContainer(kj::String id) {
  return containerList.start(id);
}

kj::Promise<void> RuntimeImpl::stopContainer(kj::String id, int64_t timeoutSeconds) {
  return containerList.stop(id, secondsOf(timeoutSeconds));
}

kj::Promise<void> RuntimeImpl::removeContainer(kj::String id) {
  return containerList.remove(id);
}

kj::Promise<void> RuntimeImpl::updateContainerResources(kj::String id,
                                                        Owned<LinuxResources> change) {
  return containerList.updateResources(id, kj::mv(change));
}

ContainerView RuntimeImpl::container(kj::StringPtr id) {
  return parts.inventory.view(*parts.inventory.getContainer(id));
}

kj::Array<ContainerView> RuntimeImpl::containers() {
  kj::Vector<ContainerView> views;
  for (auto& container : parts.inventory.allContainers()) {
    if (!container->get().getCreating()) views.add(parts.inventory.view(*container));
  }
  return views.releaseAsArray();
}

kj::Promise<ExecResult> RuntimeImpl::execSync(kj::String id, kj::Array<kj::String> command,
                                              int64_t timeoutSeconds) {
  return containerList.execSync(id, kj::mv(command), secondsOf(timeoutSeconds));
}

kj::Promise<void> RuntimeImpl::reopenContainerLog(kj::String id) {
  return containerList.reopenLog(id);
}

kj::Promise<kj::Array<ContainerUsageView>> RuntimeImpl::containerUsage(
    kj::Array<ContainerView> wanted) {
  return usage.ofContainers(kj::mv(wanted));
}

kj::Promise<kj::Array<PodUsageView>> RuntimeImpl::podUsage(kj::Array<PodView> wanted) {
  return usage.ofPods(kj::mv(wanted));
}

kj::Promise<kj::AutoCloseFd> RuntimeImpl::exec(kj::String id, kj::Array<kj::String> command,
                                               bool terminal, StreamSet streams) {
  return containerList.exec(id, kj::mv(command), terminal, streams);
}

kj::Promise<kj::AutoCloseFd> RuntimeImpl::attach(kj::String id, StreamSet streams) {
  return containerList.attach(id, streams);
}

kj::Promise<kj::AutoCloseFd> RuntimeImpl::portForward(kj::String podId) {
  return podList.portForward(podId);
}

kj::Promise<kj::String> RuntimeImpl::pullImage(kj::String reference, PullCredentials credentials) {
  return imageList.pull(kj::mv(reference), kj::mv(credentials));
}

kj::Promise<void> RuntimeImpl::removeImage(kj::String reference) {
  return imageList.remove(reference);
}

kj::Maybe<Owned<snapshot::Image>> RuntimeImpl::image(kj::StringPtr reference) {
  return imageList.find(reference);
}

kj::Array<Owned<snapshot::Image>> RuntimeImpl::images() {
  return imageList.all();
}

kj::Promise<FilesystemUsage> RuntimeImpl::imageFilesystem() {
  return imageList.usage();
}

}  // namespace belay::supervisor
