// Status: whether pods can run here, and what the runtime can do.
#include "criapi/handlers.h"
#include "criapi/text.h"

namespace belay::criapi {
namespace {

void readConditions(const supervisor::RuntimeStatus& status, v1::RuntimeStatus& reply) {
  for (auto& condition : status.conditions) {
    auto& item = *reply.add_conditions();
    item.set_type(replyText(condition.type));
    item.set_status(condition.status);
    item.set_reason(replyText(condition.reason));
    item.set_message(replyText(condition.message));
  }
}

void readHandlers(const supervisor::RuntimeStatus& status, v1::StatusResponse& reply) {
  for (auto& handler : status.handlers) {
    auto& item = *reply.add_runtime_handlers();
    item.set_name(replyText(handler.name));
    item.mutable_features()->set_recursive_read_only_mounts(handler.recursiveReadOnlyMounts);
    item.mutable_features()->set_user_namespaces(handler.userNamespaces);
  }
}

}  // namespace

kj::Promise<v1::StatusResponse> status(Context& context, const v1::StatusRequest& request) {
  auto status = co_await context.runtime.status(request.verbose());
  v1::StatusResponse response;
  readConditions(status, *response.mutable_status());
  readHandlers(status, response);
  auto& features = *response.mutable_features();
  features.set_supplemental_groups_policy(status.supplementalGroupsPolicy);
  features.set_user_namespaces_host_network(status.userNamespacesHostNetwork);
  features.set_mount_options(true);
  if (request.verbose()) {
    (*response.mutable_info())["config"] = replyText(status.configJson);
  }
  co_return response;
}

}  // namespace belay::criapi
