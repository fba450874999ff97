// Container.exec: a process that runs in a container for one streaming session.
#pragma once

#include <capnp/message.h>
#include <kj/async.h>

#include "shim/engine/cgroup.h"
#include "shim/engine/enter.h"
#include "shim/session-socket.h"
#include "shim/shim-context.h"
#include "shim/spec.capnp.h"

namespace belay::shim {

// The standard streams that a client wants.
struct StreamChoice {
  bool in = false;
  bool out = false;
  bool err = false;
};

void writeChoice(StreamChoice choice, Handover::Session::Builder state);
StreamChoice readChoice(Handover::Session::Reader state);

// Where the process is to run.
struct ExecTarget {
  kj::StringPtr containerId;
  EnterTarget enter;
  kj::Own<Cgroup> cgroup;  // of its own, below the container's
};

// Serves the session on `socket` until it has been told how `process` ended, or hangs up. Before
// its start nothing runs. When it hangs up, or the promise is dropped, while the process is being
// made, that is killed; later the process goes on without its streams and is reaped by whoever
// reaps orphans, and what is left of it keeps the cgroup until it ends. `process` is copied; the
// rest outlives the promise. Streams that nobody chose are /dev/null.
kj::Promise<void> serveExec(ShimContext& context, kj::AutoCloseFd socket,
                            ProcessSpec::Reader process, StreamChoice choice, ExecTarget target,
                            kj::TaskSet& tasks);

// The same for one whose process `pid`, a child of this one, was made by the program before.
// `ptyMaster` is null without a terminal. To be called before the reaper runs, or with a Hold.
kj::Promise<void> resumeExec(ShimContext& context, kj::AutoCloseFd socket, kj::String containerId,
                             pid_t pid, kj::AutoCloseFd ptyMaster);

}  // namespace belay::shim
