// PortForward: a URL for one client's connections to ports of a pod.
#include "criapi/handlers.h"
#include "criapi/text.h"

namespace belay::criapi {

kj::Promise<v1::PortForwardResponse> portForward(Context& context,
                                                 const v1::PortForwardRequest& request) {
  auto id = requiredText(request.pod_sandbox_id(), Field("pod_sandbox_id"));
  auto ports = kj::heapArrayBuilder<uint16_t>(request.port_size());
  for (int i = 0; i < request.port_size(); ++i) {
    auto port = request.port(i);
    if (port < 1 || port > 65535) {
      Field("port").at(i).refuse(port, " is not between 1 and 65535");
    }
    ports.add(static_cast<uint16_t>(port));
  }
  auto pod = context.runtime.podSandbox(id);
  if (!pod.ready) {
    snapshot::fail(snapshot::Code::FAILED_PRECONDITION, "pod sandbox ", pod.record.get().getId(),
                   " is not ready");
  }
  streaming::StreamRequest stream;
  stream.init<streaming::PortForwardRequest>(
      streaming::PortForwardRequest{kj::str(pod.record.get().getId()), ports.finish()});
  v1::PortForwardResponse response;
  response.set_url(context.streams.urlFor(kj::mv(stream)).cStr());
  co_return response;
}

}  // namespace belay::criapi
