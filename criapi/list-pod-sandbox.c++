// ListPodSandbox and StreamPodSandboxes: the pods a filter lets through.
#include "criapi/filters.h"
#include "criapi/handlers.h"
#include "criapi/list.h"
#include "criapi/translate-pod.h"

namespace belay::criapi {
namespace {

using Items = google::protobuf::RepeatedPtrField<v1::PodSandbox>;

Items listPods(Context& context, const v1::PodSandboxFilter& filter) {
  Items items;
  for (auto& pod : context.runtime.podSandboxes()) {
    if (!matches(filter, pod)) continue;
    addReadable(items, [&](v1::PodSandbox& item) { readPod(pod, item); });
  }
  return items;
}

}  // namespace

kj::Promise<v1::ListPodSandboxResponse> listPodSandbox(Context& context,
                                                       const v1::ListPodSandboxRequest& request) {
  v1::ListPodSandboxResponse response;
  *response.mutable_items() = listPods(context, request.filter());
  co_return response;
}

kj::Promise<void> streamPodSandboxes(Context& context, const v1::StreamPodSandboxesRequest& request,
                                     grpc::StreamWriter<v1::StreamPodSandboxesResponse>& writer) {
  return streamPortions<v1::StreamPodSandboxesResponse>(
      listPods(context, request.filter()), writer,
      [](auto& message) { return message.mutable_pod_sandboxes(); });
}

}  // namespace belay::criapi
