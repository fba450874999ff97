// PodSandboxStats, ListPodSandboxStats and StreamPodSandboxStats: what pods that are ready use.
#include "criapi/filters.h"
#include "criapi/handlers.h"
#include "criapi/list.h"
#include "criapi/text.h"
#include "criapi/translate-usage.h"

namespace belay::criapi {
namespace {

using snapshot::Code;
using snapshot::fail;
using Items = google::protobuf::RepeatedPtrField<v1::PodSandboxStats>;

kj::Promise<Items> statsOf(Context& context, const v1::PodSandboxStatsFilter& filter) {
  kj::Vector<supervisor::PodView> wanted;
  for (auto& pod : context.runtime.podSandboxes()) {
    if (matches(filter, pod)) wanted.add(kj::mv(pod));
  }
  Items items;
  for (auto& usage : co_await context.runtime.podUsage(wanted.releaseAsArray())) {
    addReadable(items, [&](v1::PodSandboxStats& item) { readPodSandboxStats(usage, item); });
  }
  co_return items;
}

}  // namespace

kj::Promise<v1::PodSandboxStatsResponse> podSandboxStats(
    Context& context, const v1::PodSandboxStatsRequest& request) {
  auto pod =
      context.runtime.podSandbox(requiredText(request.pod_sandbox_id(), Field("pod_sandbox_id")));
  auto usage = co_await context.runtime.podUsage(kj::arr(pod));
  if (usage.size() == 0) {
    auto id = pod.record.get().getId();
    if (pod.ready) fail(Code::UNAVAILABLE, "the shim of pod sandbox ", id, " does not answer");
    fail(Code::FAILED_PRECONDITION, "pod sandbox ", id, " is not ready: it uses nothing");
  }
  v1::PodSandboxStatsResponse response;
  readPodSandboxStats(usage[0], *response.mutable_stats());
  co_return response;
}

kj::Promise<v1::ListPodSandboxStatsResponse> listPodSandboxStats(
    Context& context, const v1::ListPodSandboxStatsRequest& request) {
  v1::ListPodSandboxStatsResponse response;
  *response.mutable_stats() = co_await statsOf(context, request.filter());
  co_return response;
}

kj::Promise<void> streamPodSandboxStats(
    Context& context, const v1::StreamPodSandboxStatsRequest& request,
    grpc::StreamWriter<v1::StreamPodSandboxStatsResponse>& writer) {
  co_await streamPortions<v1::StreamPodSandboxStatsResponse>(
      co_await statsOf(context, request.filter()), writer,
      [](auto& message) { return message.mutable_pod_sandbox_stats(); });
}

}  // namespace belay::criapi
