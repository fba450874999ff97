// Container.attach: a streaming session that follows a running container's own streams.
#pragma once

#include <kj/async.h>

#include "shim/exec-session.h"
#include "shim/session-socket.h"
#include "shim/shim-context.h"
#include "shim/stdio/container-stdio.h"

namespace belay::shim {

// What an attach needs of its container. Outlives the session.
class AttachTarget {
 public:
  // The failure of every attach to a container that cannot have one now.
  virtual kj::Maybe<FailureValue> refuseAttach(StreamChoice choice) const = 0;
  // Only after refuseAttach() did not refuse.
  virtual ContainerStdio& attachedStdio() = 0;
  // Resolves when all output has been passed on and the exit is known.
  virtual kj::Promise<void> whenExited() = 0;
  virtual void fillExit(Exit::Builder exit) const = 0;
  // A client with input has gone, or has nothing more to send.
  virtual void attachedInputEnded() = 0;
  virtual kj::StringPtr attachedId() const = 0;

 protected:
  ~AttachTarget() = default;
};

// Serves the session on `socket` until the container has exited, the client was too slow, or it
// hangs up.
kj::Promise<void> serveAttach(ShimContext& context, kj::AutoCloseFd socket, StreamChoice choice,
                              AttachTarget& target);

// The same for one that the program before had started.
struct AttachedStreams {
  kj::AutoCloseFd input, output, errors;  // as in handover.capnp
};
kj::Promise<void> resumeAttach(ShimContext& context, kj::AutoCloseFd socket, StreamChoice choice,
                               AttachTarget& target, AttachedStreams streams);

}  // namespace belay::shim
