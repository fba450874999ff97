// ReopenContainerLog: after the log was renamed, go on in a new file.
#include "criapi/handlers.h"
#include "criapi/text.h"

namespace belay::criapi {

kj::Promise<v1::ReopenContainerLogResponse> reopenContainerLog(
    Context& context, const v1::ReopenContainerLogRequest& request) {
  auto id = kj::str(requiredText(request.container_id(), Field("container_id")));
  co_await context.runtime.reopenContainerLog(kj::mv(id));
  co_return v1::ReopenContainerLogResponse();
}

}  // namespace belay::criapi
