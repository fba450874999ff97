// PullImage: brings an image into the store and answers with its id.
#include "criapi/handlers.h"
#include "criapi/text.h"
#include "criapi/translate-image.h"

namespace belay::criapi {
namespace {

using snapshot::Code;

// An image may be pulled for one handler's storage; one that does not exist is refused. All of
// belay's handlers share one storage.
kj::Promise<void> requireHandler(Context& context, kj::String handler) {
  if (handler.size() == 0) co_return;
  auto status = co_await context.runtime.status(false);
  for (auto& known : status.handlers) {
    if (known.name == handler) co_return;
  }
  Field("image")["runtime_handler"].refuse("there is no runtime handler \"", handler, "\"");
}

// The kubelet knows an unreachable registry by this first word (cri-api, pkg/errors).
kj::Exception marked(const kj::Exception& exception) {
  constexpr kj::StringPtr MARK = "RegistryUnavailable"_kj;
  if (snapshot::codeOf(exception) != Code::UNAVAILABLE ||
      snapshot::messageOf(exception).startsWith(MARK)) {
    return kj::cp(exception);
  }
  return snapshot::prefixed(exception, MARK);
}

}  // namespace

kj::Promise<v1::PullImageResponse> pullImage(Context& context,
                                             const v1::PullImageRequest& request) {
  auto reference = imageReferenceOf(request.image(), Field("image"));
  auto credentials = credentialsOf(request.auth(), Field("auth"));
  co_await requireHandler(context, kj::str(requestText(request.image().runtime_handler(),
                                                       Field("image")["runtime_handler"])));
  v1::PullImageResponse response;
  try {
    auto id = co_await context.runtime.pullImage(kj::mv(reference), kj::mv(credentials));
    response.set_image_ref(id.cStr());
  } catch (const kj::Exception& exception) {
    kj::throwFatalException(marked(exception));
  }
  co_return response;
}

}  // namespace belay::criapi
