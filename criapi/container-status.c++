// ContainerStatus: one container as it is.
#include "criapi/handlers.h"
#include "criapi/text.h"
#include "criapi/translate-container.h"
#include "criapi/verbose-info.h"

namespace belay::criapi {

kj::Promise<v1::ContainerStatusResponse> containerStatus(
    Context& context, const v1::ContainerStatusRequest& request) {
  auto container =
      context.runtime.container(requiredText(request.container_id(), Field("container_id")));
  v1::ContainerStatusResponse response;
  readContainerStatus(container, imageNameOf(container, context.runtime),
                      *response.mutable_status());
  if (request.verbose()) {
    (*response.mutable_info())["info"] = containerInfo(container);
  }
  co_return response;
}

}  // namespace belay::criapi
