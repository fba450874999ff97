// RemoveImage: takes an image and all its names away. Done if there is no such image.
#include "criapi/handlers.h"
#include "criapi/translate-image.h"

namespace belay::criapi {

kj::Promise<v1::RemoveImageResponse> removeImage(Context& context,
                                                 const v1::RemoveImageRequest& request) {
  co_await context.runtime.removeImage(imageReferenceOf(request.image(), Field("image")));
  co_return v1::RemoveImageResponse();
}

}  // namespace belay::criapi
