// The first process of the pid namespace that a pod's containers share: it must be there before the
// first container and outlive the last.
//
// It is visible to containers, so it has nothing that one could reach through it: a tiny static
// program in a sealed memory file, an empty read-only root, the pod's namespaces, no descriptor, no
// capability, and a system call filter.
#pragma once

#include <kj/async.h>
#include <kj/io.h>
#include <kj/one-of.h>

#include "shim/engine/cgroup.h"
#include "shim/engine/context.h"
#include "shim/engine/failure-value.h"

namespace belay::shim {

struct PodNamespaces;

// The program of such a process, in a sealed memory file: it reaps its children, if it has any, and
// does nothing else until it is killed.
kj::AutoCloseFd newIdleProgram();

struct PodInit {
  pid_t pid;
  kj::AutoCloseFd pidfd;

  // A procfs of its pid namespace: a detached mount.
  kj::AutoCloseFd proc;
};

// Starts it as a child of this process, in the given namespaces and cgroup. Resolves once it has
// passed execve. Dropping the promise kills it. The references outlive the promise.
kj::Promise<kj::OneOf<PodInit, FailureValue>> startPodInit(EngineContext& context,
                                                           const PodNamespaces& namespaces,
                                                           const Cgroup& cgroup);

// Kills what is in the cgroup, waits until it is empty, and removes it. Absent is fine. The kernel
// lets it die only when every process of its pid namespace has died and been reaped.
kj::Promise<void> removePodInit(EngineContext& context, kj::Own<Cgroup> cgroup);

}  // namespace belay::shim
