// Making a container: everything up to execve, then the word to go.
//
// Two children, so that nothing that a container can ever see in /proc has the host's root, a
// foreign file descriptor or this process's memory: stage A, outside the container's pid namespace,
// joins cgroup and namespaces, mounts everything and pivots; stage B, cloned by A as a child of
// this process, waits at the gate. In a pid namespace of its own, where nobody else is yet, stage B
// mounts /proc and gives up privileges; into one that others share it is born without any.
#pragma once

#include <kj/array.h>
#include <kj/async.h>
#include <kj/io.h>
#include <kj/one-of.h>

#include "shim/engine/cgroup.h"
#include "shim/engine/context.h"
#include "shim/engine/failure-value.h"
#include "shim/engine/namespaces.h"
#include "shim/engine/terminal-size.h"
#include "shim/spec.capnp.h"

namespace belay::shim {

// The child's ends of its standard streams. With `terminal` the three are ignored: a
// pseudo-terminal of the container's own devpts takes their place and its master comes back.
struct ChildStdio {
  kj::AutoCloseFd in;
  kj::AutoCloseFd out;
  kj::AutoCloseFd err;
  bool terminal = false;

  // What the terminal begins with.
  TerminalSize size;
};

struct UserIds {
  uid_t uid = 0;
  gid_t gid = 0;

  // Supplementary groups; the primary one is among them.
  kj::Array<gid_t> groups;
};

// A container whose first process waits for releaseGate. Dropping it closes the gate, and the child
// then exits at once.
struct Prepared {
  pid_t pid;
  kj::AutoCloseFd pidfd;

  // Both the gate and the way failures come back: a SOCK_SEQPACKET socket.
  kj::AutoCloseFd gate;

  UserIds user;

  // Null without a terminal. Does not block.
  kj::AutoCloseFd ptyMaster;
};

// Prepares the container. `cgroup` has its limits already. The pid namespace is the container's
// own, the pod's (spec.pid is pod: `namespaces` has it), the host's, or that of `targetPidfd`, the
// first process of another container (spec.pid is target); one that is missing is
// failedPrecondition.
//
// It waits for its children on the event loop and never blocks it: a hung mount source hangs only
// the child, which is killed when the promise is dropped. Failures name step and object. `spec` and
// `stdio` are used before the first suspension only; `cgroup` and `context` outlive the promise.
//
// The process may have died by the time this resolves (OOM, a signal): whoever reaps must keep the
// status of children not yet known for as long as a call of this or of enterContainer is pending.
// Stage A is a child, too, and is reaped like an unknown orphan.
kj::Promise<kj::OneOf<Prepared, FailureValue>> prepareContainer(
    EngineContext& context, ContainerSpec::Reader spec, const PodNamespaces& namespaces,
    const Cgroup& cgroup, ChildStdio stdio, int targetPidfd = -1);

// Lets the child go on. Resolves with nothing once execve succeeded, or with the failure (notFound:
// no such command; the child then exits with 127 or 126). A child that was killed before execve
// counts as started: its exit status tells. `prepared` outlives the promise.
kj::Promise<kj::Maybe<FailureValue>> releaseGate(EngineContext& context, Prepared& prepared);

}  // namespace belay::shim
