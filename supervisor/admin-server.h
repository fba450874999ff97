// What answers belayctl on the admin socket.
#pragma once

#include <kj/async-io.h>

#include "supervisor/admin.capnp.h"
#include "supervisor/runtime-impl.h"

namespace belay::supervisor {

// Serves connections until it is dropped. The runtime outlives it.
class AdminServer final : private kj::TaskSet::ErrorHandler {
 public:
  // Becomes the program, and resolves with the new version when that serves.
  using Upgrade = kj::Function<kj::Promise<kj::String>(kj::String program)>;

  AdminServer(RuntimeImpl& runtime, Upgrade upgrade);
  KJ_DISALLOW_COPY_AND_MOVE(AdminServer);

  void accept(kj::Own<kj::AsyncCapabilityStream> stream) { tasks.add(serve(kj::mv(stream))); }

  // Resolves when no connection is open.
  kj::Promise<void> whenIdle() { return tasks.onEmpty(); }

 private:
  Admin::Client admin;
  kj::TaskSet tasks;

  kj::Promise<void> serve(kj::Own<kj::AsyncCapabilityStream> stream);
  void taskFailed(kj::Exception&& exception) override;
};

}  // namespace belay::supervisor
