// UpdatePodSandboxResources: what the pod may use from now on, after the caller has set its cgroup.
#include "criapi/handlers.h"
#include "criapi/text.h"
#include "criapi/translate-resources.h"

namespace belay::criapi {

kj::Promise<v1::UpdatePodSandboxResourcesResponse> updatePodSandboxResources(
    Context& context, const v1::UpdatePodSandboxResourcesRequest& request) {
  auto id = kj::str(requiredText(request.pod_sandbox_id(), Field("pod_sandbox_id")));
  kj::Maybe<supervisor::Owned<supervisor::LinuxResources>> overhead, resources;
  if (request.has_overhead()) overhead = resourcesOf(request.overhead(), Field("overhead"));
  if (request.has_resources()) resources = resourcesOf(request.resources(), Field("resources"));
  co_await context.runtime.updatePodSandboxResources(kj::mv(id), kj::mv(overhead),
                                                     kj::mv(resources));
  co_return v1::UpdatePodSandboxResourcesResponse();
}

}  // namespace belay::criapi
