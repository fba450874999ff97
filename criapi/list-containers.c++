// ListContainers and StreamContainers: the containers a filter lets through.
#include "criapi/filters.h"
#include "criapi/handlers.h"
#include "criapi/list.h"
#include "criapi/translate-container.h"

namespace belay::criapi {
namespace {

using Items = google::protobuf::RepeatedPtrField<v1::Container>;

Items containersOf(Context& context, const v1::ContainerFilter& filter) {
  Items items;
  for (auto& container : context.runtime.containers()) {
    if (!matches(filter, container)) continue;
    addReadable(items, [&](v1::Container& item) {
      readContainer(container, imageNameOf(container, context.runtime), item);
    });
  }
  return items;
}

}  // namespace

kj::Promise<v1::ListContainersResponse> listContainers(Context& context,
                                                       const v1::ListContainersRequest& request) {
  v1::ListContainersResponse response;
  *response.mutable_containers() = containersOf(context, request.filter());
  co_return response;
}

kj::Promise<void> streamContainers(Context& context, const v1::StreamContainersRequest& request,
                                   grpc::StreamWriter<v1::StreamContainersResponse>& writer) {
  return streamPortions<v1::StreamContainersResponse>(
      containersOf(context, request.filter()), writer,
      [](auto& message) { return message.mutable_containers(); });
}

}  // namespace belay::criapi
