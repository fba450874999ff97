// PodSandboxStatus: one pod and its containers, as they are at one moment.
#include "criapi/handlers.h"
#include "criapi/list.h"
#include "criapi/text.h"
#include "criapi/translate-container.h"
#include "criapi/translate-pod.h"
#include "criapi/verbose-info.h"

namespace belay::criapi {
namespace {

void readContainersOf(kj::StringPtr podId, Context& context, v1::PodSandboxStatusResponse& reply) {
  for (auto& container : context.runtime.containers()) {
    if (container.record.get().getPodId() != podId) continue;
    addReadable(*reply.mutable_containers_statuses(), [&](v1::ContainerStatus& status) {
      readContainerStatus(container, imageNameOf(container, context.runtime), status);
    });
  }
}

}  // namespace

kj::Promise<v1::PodSandboxStatusResponse> podSandboxStatus(
    Context& context, const v1::PodSandboxStatusRequest& request) {
  auto pod =
      context.runtime.podSandbox(requiredText(request.pod_sandbox_id(), Field("pod_sandbox_id")));
  v1::PodSandboxStatusResponse response;
  // Nothing below waits, so that this is one moment. A kubelet with evented PLEG compares the time
  // with its events'.
  response.set_timestamp((context.clock.now() - kj::UNIX_EPOCH) / kj::NANOSECONDS);
  readPodStatus(pod, *response.mutable_status());
  readContainersOf(pod.record.get().getId(), context, response);
  if (request.verbose()) {
    (*response.mutable_info())["info"] = podInfo(pod);
  }
  co_return response;
}

}  // namespace belay::criapi
