// RuntimeConfig: which cgroup driver the kubelet is to use as well.
#include "criapi/handlers.h"

namespace belay::criapi {

kj::Promise<v1::RuntimeConfigResponse> runtimeConfig(Context& context,
                                                     const v1::RuntimeConfigRequest&) {
  v1::RuntimeConfigResponse response;
  response.mutable_linux()->set_cgroup_driver(context.runtime.systemdCgroupDriver() ? v1::SYSTEMD
                                                                                    : v1::CGROUPFS);
  co_return response;
}

}  // namespace belay::criapi
