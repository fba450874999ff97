// StopPodSandbox: ends a pod's containers and its network. Done if there is no such pod.
#include "criapi/handlers.h"
#include "criapi/text.h"

namespace belay::criapi {

kj::Promise<v1::StopPodSandboxResponse> stopPodSandbox(Context& context,
                                                       const v1::StopPodSandboxRequest& request) {
  auto id = kj::str(requiredText(request.pod_sandbox_id(), Field("pod_sandbox_id")));
  co_await context.runtime.stopPodSandbox(kj::mv(id));
  co_return v1::StopPodSandboxResponse();
}

}  // namespace belay::criapi
