// The CRI, v1, as gRPC methods: what belayd's socket serves.
#pragma once

#include <kj/time.h>

#include "criapi/grpc/server.h"
#include "criapi/handlers.h"
#include "supervisor/runtime.h"

namespace belay::criapi {

// All RPCs of RuntimeService and ImageService. Those not yet built answer UNIMPLEMENTED with their
// name.
class CriService {
 public:
  // `runtime`, `streams` and `clock` outlive this object. `version` is belay's own, as Version
  // reports it.
  CriService(supervisor::Runtime& runtime, streaming::StreamUrls& streams, kj::StringPtr version,
             const kj::Clock& clock = kj::systemPreciseCalendarClock());

  // Adds the methods to the server, which this object outlives. The server's Options::statusOf is
  // to be statusOfFailure (failure-status.h), or the codes of failures are lost.
  void registerOn(grpc::Server& server);

 private:
  Context context;
};

}  // namespace belay::criapi
