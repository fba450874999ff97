// What answers belayctl on the admin socket.
#pragma once

#include <kj/async-io.h>

#include "supervisor/admin.capnp.h"
#include "supervisor/runtime-impl.h"

namespace belay::supervisor {

// Serves connections until it is dropped. The runtime outlives it.
class AdminServer final : private kj::TaskSet::ErrorHandler {
 public:
  explicit AdminServer(RuntimeImpl& runtime);
  KJ_DISALLOW_COPY_AND_MOVE(AdminServer);

  void accept(kj::Own<kj::AsyncCapabilityStream> stream) { tasks.add(serve(kj::mv(stream))); }

 private:
  Admin::Client admin;
  kj::TaskSet tasks;

  kj::Promise<void> serve(kj::Own<kj::AsyncCapabilityStream> stream);
  void taskFailed(kj::Exception&& exception) override;
};

}  // namespace belay::supervisor
