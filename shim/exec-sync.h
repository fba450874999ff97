// ExecSync: a process that runs in a container and is waited for, its output captured.
#pragma once

#include <kj/async.h>
#include <kj/io.h>
#include <kj/one-of.h>

#include "shim/engine/cgroup.h"
#include "shim/engine/enter.h"
#include "shim/engine/failure-value.h"
#include "shim/shim-context.h"
#include "shim/spec.capnp.h"

namespace belay::shim {

struct ExecSyncResult {
  int exitCode;  // 128 + signal if it died by one
  bool timedOut;
  kj::AutoCloseFd out;  // sealed memory files
  kj::AutoCloseFd err;
};

struct ExecSyncLimits {
  kj::Maybe<kj::Duration> timeout;
  uint64_t maxBytes;  // of each stream
};

// Runs `process` in the target container. At the time-out, and when the promise is
// dropped, everything that it started is killed; what it left in the background when it ended in
// time lives on. `process` is read before the first suspension only; the rest outlives the promise.
kj::Promise<kj::OneOf<ExecSyncResult, FailureValue>> execSync(
    ShimContext& context, ProcessSpec::Reader process, EnterTarget target, kj::Own<Cgroup> cgroup,
    ExecSyncLimits limits, kj::TaskSet& tasks);

}  // namespace belay::shim
