// RunPodSandbox: makes a pod that is ready for containers.
#include "criapi/handlers.h"
#include "criapi/text.h"
#include "criapi/translate-pod.h"

namespace belay::criapi {

kj::Promise<v1::RunPodSandboxResponse> runPodSandbox(Context& context,
                                                     const v1::RunPodSandboxRequest& request) {
  auto config = podConfigOf(request.config(), Field("config"));
  auto handler = kj::str(requestText(request.runtime_handler(), Field("runtime_handler")));
  auto id = co_await context.runtime.runPodSandbox(kj::mv(config), kj::mv(handler));
  v1::RunPodSandboxResponse response;
  response.set_pod_sandbox_id(id.cStr());
  co_return response;
}

}  // namespace belay::criapi
