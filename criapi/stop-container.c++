// StopContainer: asks a container to end and kills it when its time is up. Done if it has ended, or
// if there is no such container.
#include "criapi/handlers.h"
#include "criapi/text.h"

namespace belay::criapi {

kj::Promise<v1::StopContainerResponse> stopContainer(Context& context,
                                                     const v1::StopContainerRequest& request) {
  auto id = kj::str(requiredText(request.container_id(), Field("container_id")));
  co_await context.runtime.stopContainer(kj::mv(id), request.timeout());
  co_return v1::StopContainerResponse();
}

}  // namespace belay::criapi
