// The RPC face of one container.
#pragma once

#include "shim/pod.h"
#include "shim/shim.capnp.h"

namespace belay::shim {

class ContainerServer final : public Container::Server {
 public:
  // Context and pod outlive every server.
  ContainerServer(ShimContext& context, Pod& pod, kj::Own<PodContainer> container);

 protected:
  kj::Promise<void> state(StateContext context) override;
  kj::Promise<void> start(StartContext context) override;
  kj::Promise<void> stop(StopContext context) override;
  kj::Promise<void> wait(WaitContext context) override;
  kj::Promise<void> execSync(ExecSyncContext context) override;
  kj::Promise<void> exec(ExecContext context) override;
  kj::Promise<void> attach(AttachContext context) override;
  kj::Promise<void> reopenLog(ReopenLogContext context) override;
  kj::Promise<void> updateResources(UpdateResourcesContext context) override;
  kj::Promise<void> remove(RemoveContext context) override;
  kj::Promise<void> descriptors(DescriptorsContext context) override;
  kj::Promise<void> signal(SignalContext context) override;

 private:
  kj::Maybe<FailureValue> refuseIfRemoved(kj::StringPtr step) const;

  ShimContext& shimContext;
  Pod& pod;
  kj::Own<PodContainer> container;
};

}  // namespace belay::shim
