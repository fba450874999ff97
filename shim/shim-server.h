// The bootstrap capability of every connection: the RPC face of the pod.
#pragma once

#include "shim/pod.h"
#include "shim/shim.capnp.h"
#include "shim/upgrade.h"

namespace belay::shim {

class ShimServer final : public Shim::Server {
 public:
  // Both outlive every server.
  ShimServer(ShimContext& context, Pod& pod) : shimContext(context), pod(pod) {}

  // What does upgrades; without it there are none. Outlives every server.
  void setUpgrade(Upgrade& value) { upgrader = value; }

 protected:
  kj::Promise<void> info(InfoContext context) override;
  kj::Promise<void> createPod(CreatePodContext context) override;
  kj::Promise<void> state(StateContext context) override;
  kj::Promise<void> createContainer(CreateContainerContext context) override;
  kj::Promise<void> container(ContainerContext context) override;
  kj::Promise<void> watch(WatchContext context) override;
  kj::Promise<void> descriptors(DescriptorsContext context) override;
  kj::Promise<void> removePod(RemovePodContext context) override;
  kj::Promise<void> usage(UsageContext context) override;
  kj::Promise<void> portForward(PortForwardContext context) override;
  kj::Promise<void> debug(DebugContext context) override;
  kj::Promise<void> inherit(InheritContext context) override;
  kj::Promise<void> adopt(AdoptContext context) override;
  kj::Promise<void> orphanExited(OrphanExitedContext context) override;
  kj::Promise<void> upgrade(UpgradeContext context) override;

 private:
  void noteExit(OrphanExit::Reader exit);

  ShimContext& shimContext;
  Pod& pod;
  kj::Maybe<Upgrade&> upgrader;
};

// What `info` answers and --version prints.
kj::StringPtr versionText();

}  // namespace belay::shim
