// Serves belayctl: the admin socket and what answers on it.
#pragma once

#include <kj/async-io.h>

#include "supervisor/admin.capnp.h"
#include "supervisor/runtime-impl.h"

namespace belay::supervisor {

// Accepts connections until it is dropped. Everything given by reference outlives it.
class AdminListener final : private kj::TaskSet::ErrorHandler {
 public:
  AdminListener(kj::LowLevelAsyncIoProvider& io, kj::AutoCloseFd socket, RuntimeImpl& runtime);
  KJ_DISALLOW_COPY_AND_MOVE(AdminListener);

 private:
  kj::Own<kj::ConnectionReceiver> receiver;
  Admin::Client admin;
  kj::TaskSet tasks;

  kj::Promise<void> accept();
  kj::Promise<void> serve(kj::Own<kj::AsyncCapabilityStream> stream);
  void taskFailed(kj::Exception&& exception) override;
};

}  // namespace belay::supervisor
