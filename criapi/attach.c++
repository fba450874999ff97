// Attach: a URL for one connection to a running container's own streams.
#include "criapi/exec-request.h"
#include "criapi/handlers.h"

namespace belay::criapi {

kj::Promise<v1::AttachResponse> attach(Context& context, const v1::AttachRequest& request) {
  auto id = requiredText(request.container_id(), Field("container_id"));
  auto streams = streamsOf(request);
  auto container = requireRunning(context.runtime, id);
  if (streams.in && !container.record.get().getConfig().getStdin()) {
    Field("stdin").refuse("container ", container.record.get().getId(), " was made without stdin");
  }
  streaming::StreamRequest stream;
  stream.init<streaming::AttachRequest>(
      streaming::AttachRequest{kj::str(container.record.get().getId()), request.tty(), streams});
  v1::AttachResponse response;
  response.set_url(context.streams.urlFor(kj::mv(stream)).cStr());
  co_return response;
}

}  // namespace belay::criapi
