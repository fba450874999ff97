// The supervisor as criapi sees it: every call goes to the manager that it concerns.
#pragma once

#include "supervisor/container-manager.h"
#include "supervisor/image-manager.h"
#include "supervisor/parts.h"
#include "supervisor/pod-manager.h"
#include "supervisor/pod-teardown.h"
#include "supervisor/reconcile.h"
#include "supervisor/runtime.h"
#include "supervisor/usage-manager.h"

namespace belay::supervisor {

class RuntimeImpl final : public Runtime {
 public:
  // `parts` outlive this object.
  explicit RuntimeImpl(Parts& parts, kj::Duration shimDeadline = Reconciler::SHIM_DEADLINE);

  // To be awaited before the first call.
  kj::Promise<void> reconcile() { return reconciler.run(); }

  // What this machine can do is still being tried out: calls that depend on it wait for that.
  void awaitTrials(kj::Promise<void> trials) { machineTried = trials.fork(); }

  // For a belayd that is being replaced: all work ends where it is, nothing more is heard of shims,
  // and the database is closed. Calls to shims in progress go on.
  void retire();

  ImageManager& imageManager() { return imageList; }
  Operations& operations() { return parts.operations; }
  PodManager& podManager() { return podList; }
  Inventory& inventory() { return parts.inventory; }
  // NOT_FOUND for an id that no pod has. Waits for a shim that is not connected.
  kj::Promise<shim::Shim::Client> shimOf(kj::StringPtr podId) {
    return parts.inventory.getPod(podId)->client();
  }

  kj::Promise<RuntimeStatus> status(bool verbose) override;
  bool systemdCgroupDriver() override { return parts.config.cgroupDriver == CgroupDriver::SYSTEMD; }

  kj::Promise<kj::String> runPodSandbox(Owned<PodConfig> config, kj::String handler) override;
  kj::Promise<void> stopPodSandbox(kj::String id) override;
  kj::Promise<void> removePodSandbox(kj::String id) override;
  kj::Promise<void> updatePodSandboxResources(kj::String id,
                                              kj::Maybe<Owned<LinuxResources>> overhead,
                                              kj::Maybe<Owned<LinuxResources>> resources) override;
  PodView podSandbox(kj::StringPtr id) override;
  kj::Array<PodView> podSandboxes() override;

  kj::Promise<kj::String> createContainer(kj::String podId, Owned<ContainerConfig> config,
                                          Owned<PodConfig> podConfig) override;
  kj::Promise<void> startContainer(kj::String id) override;
  kj::Promise<void> stopContainer(kj::String id, int64_t timeoutSeconds) override;
  kj::Promise<void> removeContainer(kj::String id) override;
  kj::Promise<void> updateContainerResources(kj::String id, Owned<LinuxResources> change) override;
  ContainerView container(kj::StringPtr id) override;
  kj::Array<ContainerView> containers() override;
  kj::Promise<ExecResult> execSync(kj::String id, kj::Array<kj::String> command,
                                   int64_t timeoutSeconds) override;
  kj::Promise<void> reopenContainerLog(kj::String id) override;
  kj::Promise<kj::Array<ContainerUsageView>> containerUsage(
      kj::Array<ContainerView> wanted) override;
  kj::Promise<kj::Array<PodUsageView>> podUsage(kj::Array<PodView> wanted) override;

  kj::Promise<kj::AutoCloseFd> exec(kj::String id, kj::Array<kj::String> command, bool terminal,
                                    StreamSet streams) override;
  kj::Promise<kj::AutoCloseFd> attach(kj::String id, StreamSet streams) override;
  kj::Promise<kj::AutoCloseFd> portForward(kj::String podId) override;

  kj::Promise<kj::String> pullImage(kj::String reference, PullCredentials credentials) override;
  kj::Promise<void> removeImage(kj::String reference) override;
  kj::Maybe<Owned<snapshot::Image>> image(kj::StringPtr reference) override;
  kj::Array<Owned<snapshot::Image>> images() override;
  kj::Promise<FilesystemUsage> imageFilesystem() override;

 private:
  Parts& parts;
  kj::ForkedPromise<void> machineTried = kj::Promise<void>(kj::READY_NOW).fork();
  ImageManager imageList;
  PodTeardown teardown;
  PodManager podList;
  ContainerManager containerList;
  UsageManager usage;
  Reconciler reconciler;
};

}  // namespace belay::supervisor
