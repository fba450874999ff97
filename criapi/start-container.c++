// StartContainer: lets a created container run.
#include "criapi/handlers.h"
#include "criapi/text.h"

namespace belay::criapi {

kj::Promise<v1::StartContainerResponse> startContainer(Context& context,
                                                       const v1::StartContainerRequest& request) {
  auto id = kj::str(requiredText(request.container_id(), Field("container_id")));
  co_await context.runtime.startContainer(kj::mv(id));
  co_return v1::StartContainerResponse();
}

}  // namespace belay::criapi
