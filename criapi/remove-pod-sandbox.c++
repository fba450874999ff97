// RemovePodSandbox: takes a pod and its containers away. Done if there is no such pod.
#include "criapi/handlers.h"
#include "criapi/text.h"

namespace belay::criapi {

kj::Promise<v1::RemovePodSandboxResponse> removePodSandbox(
    Context& context, const v1::RemovePodSandboxRequest& request) {
  auto id = kj::str(requiredText(request.pod_sandbox_id(), Field("pod_sandbox_id")));
  co_await context.runtime.removePodSandbox(kj::mv(id));
  co_return v1::RemovePodSandboxResponse();
}

}  // namespace belay::criapi
