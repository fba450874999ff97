// ListImages and StreamImages: the images in the store, or the one a filter names.
#include "criapi/handlers.h"
#include "criapi/list.h"
#include "criapi/text.h"
#include "criapi/translate-image.h"

namespace belay::criapi {
namespace {

using Items = google::protobuf::RepeatedPtrField<v1::Image>;

void addImage(Items& items, const supervisor::Owned<snapshot::Image>& image) {
  addReadable(items, [&](v1::Image& item) { readImage(image.get(), item); });
}

Items imagesOf(Context& context, const v1::ImageFilter& filter) {
  Items items;
  auto& wanted = filter.image().image();
  if (wanted.empty()) {
    for (auto& image : context.runtime.images()) {
      addImage(items, image);
    }
  } else {
    auto reference = requestText(wanted, Field("filter")["image"]["image"]);
    KJ_IF_MAYBE (image, context.runtime.image(reference)) addImage(items, *image);
  }
  return items;
}

}  // namespace

kj::Promise<v1::ListImagesResponse> listImages(Context& context,
                                               const v1::ListImagesRequest& request) {
  v1::ListImagesResponse response;
  *response.mutable_images() = imagesOf(context, request.filter());
  co_return response;
}

kj::Promise<void> streamImages(Context& context, const v1::StreamImagesRequest& request,
                               grpc::StreamWriter<v1::StreamImagesResponse>& writer) {
  return streamPortions<v1::StreamImagesResponse>(
      imagesOf(context, request.filter()), writer,
      [](auto& message) { return message.mutable_images(); });
}

}  // namespace belay::criapi
