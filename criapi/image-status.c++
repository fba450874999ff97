// ImageStatus: one image, or nothing: an image that is not here is no error.
#include "criapi/handlers.h"
#include "criapi/translate-image.h"
#include "criapi/verbose-info.h"

namespace belay::criapi {

kj::Promise<v1::ImageStatusResponse> imageStatus(Context& context,
                                                 const v1::ImageStatusRequest& request) {
  auto reference = imageReferenceOf(request.image(), Field("image"));
  v1::ImageStatusResponse response;
  KJ_IF_MAYBE (image, context.runtime.image(reference)) {
    readImage(image->get(), *response.mutable_image());
    if (request.verbose()) {
      (*response.mutable_info())["info"] = imageInfo(image->get());
    }
  }
  co_return response;
}

}  // namespace belay::criapi
