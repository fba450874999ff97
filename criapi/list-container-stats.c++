// ContainerStats, ListContainerStats and StreamContainerStats: what containers that run use.
#include "criapi/filters.h"
#include "criapi/handlers.h"
#include "criapi/list.h"
#include "criapi/text.h"
#include "criapi/translate-usage.h"

namespace belay::criapi {
namespace {

using snapshot::Code;
using snapshot::fail;
using Items = google::protobuf::RepeatedPtrField<v1::ContainerStats>;

kj::Promise<Items> statsOf(Context& context, const v1::ContainerStatsFilter& filter) {
  kj::Vector<supervisor::ContainerView> wanted;
  for (auto& container : context.runtime.containers()) {
    if (matches(filter, container)) wanted.add(kj::mv(container));
  }
  Items items;
  for (auto& usage : co_await context.runtime.containerUsage(wanted.releaseAsArray())) {
    addReadable(items, [&](v1::ContainerStats& item) { readContainerStats(usage, item); });
  }
  co_return items;
}

}  // namespace

kj::Promise<v1::ContainerStatsResponse> containerStats(Context& context,
                                                       const v1::ContainerStatsRequest& request) {
  auto container =
      context.runtime.container(requiredText(request.container_id(), Field("container_id")));
  auto usage = co_await context.runtime.containerUsage(kj::arr(container));
  if (usage.size() == 0) {
    auto id = container.record.get().getId();
    if (container.state == supervisor::ContainerView::State::RUNNING) {
      fail(Code::UNAVAILABLE, "the shim of container ", id, " does not answer");
    }
    fail(Code::FAILED_PRECONDITION, "container ", id, " does not run: it uses nothing");
  }
  v1::ContainerStatsResponse response;
  readContainerStats(usage[0], *response.mutable_stats());
  co_return response;
}

kj::Promise<v1::ListContainerStatsResponse> listContainerStats(
    Context& context, const v1::ListContainerStatsRequest& request) {
  v1::ListContainerStatsResponse response;
  *response.mutable_stats() = co_await statsOf(context, request.filter());
  co_return response;
}

kj::Promise<void> streamContainerStats(
    Context& context, const v1::StreamContainerStatsRequest& request,
    grpc::StreamWriter<v1::StreamContainerStatsResponse>& writer) {
  co_await streamPortions<v1::StreamContainerStatsResponse>(
      co_await statsOf(context, request.filter()), writer,
      [](auto& message) { return message.mutable_container_stats(); });
}

}  // namespace belay::criapi
