// The bootstrap capability of every connection: the RPC face of the pod.
#pragma once

#include "shim/pod.h"
#include "shim/shim.capnp.h"

namespace belay::shim {

class ShimServer final : public Shim::Server {
 public:
  // `pod` outlives every server.
  explicit ShimServer(Pod& pod) : pod(pod) {}

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

 private:
  Pod& pod;
};

// What `info` answers and --version prints.
kj::StringPtr versionText();

}  // namespace belay::shim
