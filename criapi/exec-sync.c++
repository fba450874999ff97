// ExecSync: runs a command in a container and answers with what it wrote.

#include "criapi/exec-output.h"
#include "criapi/exec-request.h"
#include "criapi/handlers.h"
#include "criapi/text.h"

namespace belay::criapi {
kj::Promise<v1::ExecSyncResponse> execSync(Context& context, const v1::ExecSyncRequest& request) {
  auto id = kj::str(requiredText(request.container_id(), Field("container_id")));
  auto command = commandOf(request.cmd());
  if (request.timeout() < 0) Field("timeout").refuse(request.timeout(), " is negative");
  auto result = co_await context.runtime.execSync(kj::mv(id), kj::mv(command), request.timeout());
  v1::ExecSyncResponse response;
  readExecOutput(result, response);
  response.set_exit_code(result.exitCode);
  co_return response;
}

}  // namespace belay::criapi
