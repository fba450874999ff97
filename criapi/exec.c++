// Exec: a URL for one connection that runs a command in a container.
#include "criapi/exec-request.h"
#include "criapi/handlers.h"

namespace belay::criapi {

kj::Promise<v1::ExecResponse> exec(Context& context, const v1::ExecRequest& request) {
  auto id = requiredText(request.container_id(), Field("container_id"));
  auto command = commandOf(request.cmd());
  auto streams = streamsOf(request);
  auto container = requireRunning(context.runtime, id);
  streaming::StreamRequest stream;
  stream.init<streaming::ExecRequest>(streaming::ExecRequest{
      kj::str(container.record.get().getId()), kj::mv(command), request.tty(), streams});
  v1::ExecResponse response;
  response.set_url(context.streams.urlFor(kj::mv(stream)).cStr());
  co_return response;
}

}  // namespace belay::criapi
