// Entering a running container with another process (exec).
#pragma once

#include <kj/async.h>
#include <kj/io.h>
#include <kj/one-of.h>

#include "shim/engine/cgroup.h"
#include "shim/engine/container.h"
#include "shim/engine/context.h"
#include "shim/engine/failure-value.h"
#include "shim/engine/user-namespace.h"
#include "shim/spec.capnp.h"

namespace belay::shim {

// A process that has passed execve inside the container.
struct Entered {
  pid_t pid;
  kj::AutoCloseFd pidfd;
  UserIds user;

  // Null without a terminal.
  kj::AutoCloseFd ptyMaster;
};

// The container that is entered. Borrowed.
struct EnterTarget {
  // Of its first process.
  int pidfd;
  // Its pod's.
  IdMapping ids;
};

// Runs a process in the target's namespaces. `cgroup` is a
// child cgroup of the container's, made for this exec (Cgroup::createChild).
//
// Two stages as in prepareContainer, and for the same reason. Resolves once execve succeeded, or
// with the failure: notFound for a missing command or user, failedPrecondition if the container has
// exited or does so meanwhile. `process` and `stdio` are used before the first suspension only,
// the target's pidfd stays open to the end. Dropping the promise kills what it started;
// Cgroup::kill is the sure way.
kj::Promise<kj::OneOf<Entered, FailureValue>> enterContainer(EngineContext& context,
                                                             ProcessSpec::Reader process,
                                                             EnterTarget target,
                                                             const Cgroup& cgroup,
                                                             ChildStdio stdio);

}  // namespace belay::shim
