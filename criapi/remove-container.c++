// RemoveContainer: takes a container away, killing it if it runs. Done if there is none.
#include "criapi/handlers.h"
#include "criapi/text.h"

namespace belay::criapi {

kj::Promise<v1::RemoveContainerResponse> removeContainer(
    Context& context, const v1::RemoveContainerRequest& request) {
  auto id = kj::str(requiredText(request.container_id(), Field("container_id")));
  co_await context.runtime.removeContainer(kj::mv(id));
  co_return v1::RemoveContainerResponse();
}

}  // namespace belay::criapi
