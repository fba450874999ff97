// UpdateContainerResources: other limits for a container that has not exited; those that the
// request does not set stay.
#include "criapi/handlers.h"
#include "criapi/text.h"
#include "criapi/translate-resources.h"

namespace belay::criapi {

kj::Promise<v1::UpdateContainerResourcesResponse> updateContainerResources(
    Context& context, const v1::UpdateContainerResourcesRequest& request) {
  auto id = kj::str(requiredText(request.container_id(), Field("container_id")));
  if (request.has_windows()) Field("windows").refuse("this node runs Linux containers");
  auto change = resourcesOf(request.linux(), Field("linux"));
  co_await context.runtime.updateContainerResources(kj::mv(id), kj::mv(change));
  co_return v1::UpdateContainerResourcesResponse();
}

}  // namespace belay::criapi
