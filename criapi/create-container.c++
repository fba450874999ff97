// CreateContainer: makes everything a container needs, up to the moment before its first
// instruction.
#include "criapi/handlers.h"
#include "criapi/text.h"
#include "criapi/translate-container.h"
#include "criapi/translate-pod.h"

namespace belay::criapi {
namespace {

// The pod's configuration as the request repeats it, or as the pod was made with.
supervisor::Owned<supervisor::PodConfig> podConfigFor(Context& context,
                                                      const v1::CreateContainerRequest& request) {
  if (request.has_sandbox_config()) {
    return podConfigOf(request.sandbox_config(), Field("sandbox_config"));
  }
  auto pod = context.runtime.podSandbox(request.pod_sandbox_id().c_str());
  return supervisor::Owned<supervisor::PodConfig>(pod.record.get().getConfig());
}

}  // namespace

kj::Promise<v1::CreateContainerResponse> createContainer(
    Context& context, const v1::CreateContainerRequest& request) {
  auto podId = kj::str(requiredText(request.pod_sandbox_id(), Field("pod_sandbox_id")));
  auto config = containerConfigOf(request.config(), Field("config"));
  auto podConfig = podConfigFor(context, request);
  auto id =
      co_await context.runtime.createContainer(kj::mv(podId), kj::mv(config), kj::mv(podConfig));
  v1::CreateContainerResponse response;
  response.set_container_id(id.cStr());
  co_return response;
}

}  // namespace belay::criapi
