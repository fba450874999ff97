// Version: who answers here. Clients refuse a reply with an empty string in it.
#include "criapi/handlers.h"

namespace belay::criapi {

kj::Promise<v1::VersionResponse> version(Context& context, const v1::VersionRequest&) {
  v1::VersionResponse response;
  // Of the kubelet's runtime API, which has been 0.1.0 for as long as there is a CRI.
  response.set_version("0.1.0");
  response.set_runtime_name("belay");
  response.set_runtime_version(context.version.cStr());
  response.set_runtime_api_version("v1");
  co_return response;
}

}  // namespace belay::criapi
