// The pod's namespaces: made by a helper child, pinned to files so that they outlive every process,
// opened again by a successor of the shim.
#pragma once

#include <kj/async.h>
#include <kj/io.h>
#include <kj/one-of.h>

#include "shim/engine/context.h"
#include "shim/engine/failure-value.h"
#include "shim/engine/user-namespace.h"
#include "shim/spec.capnp.h"

namespace belay::shim {

// Open namespace files (/proc/PID/ns/X). Null where the pod uses the host's.
struct PodNamespaces {
  // Owns the others, unless they are the host's.
  kj::AutoCloseFd user;
  IdMapping ids;

  kj::AutoCloseFd net;
  kj::AutoCloseFd ipc;
  kj::AutoCloseFd uts;

  // Only if the containers share a pid namespace of the pod's.
  kj::AutoCloseFd pid;

  // What the pod's containers share is the host's pid namespace.
  bool pidIsHosts = false;

  PodUsers users() const { return {user.get(), ids}; }
};

// Makes the namespaces the spec asks for, with host name, sysctls and the loopback interface up,
// and pins them: net to spec.netnsPath, the others to ns/user, ns/ipc and ns/uts in the pod's
// directory, where also the pod's /dev/shm is mounted ("shm", unless ipc is the node's). If the
// containers share a pid namespace (spec.pid is pod) its first process is started (pod-init.h) in
// the cgroup "init-ID" below the pod's, which is there already; the namespace is pinned to ns/pid,
// and a procfs of it, for containers to have copies of, mounted at "proc" (rootfs-proc.h says why).
// On failure nothing is left. When the promise is dropped nothing is left but, perhaps, that
// cgroup, which the supervisor takes away. `spec` is read before the first suspension only.
//
// One clone3 with all namespaces in a helper: the shim itself never leaves the host's.
kj::Promise<kj::OneOf<PodNamespaces, FailureValue>> makePodNamespaces(EngineContext& context,
                                                                      PodSpec::Reader spec);

// Opens the pins again. Throws if one is missing.
PodNamespaces openPodNamespaces(EngineContext& context, PodSpec::Reader spec);

// Unpins everything at once, then ends the first process of a shared pid namespace, and resolves
// when it and its cgroup are gone; absent is fine. The namespaces die with their last process. To
// be called when all containers are gone and reaped, and before the pod's cgroup is removed. `spec`
// is read before the first suspension only.
kj::Promise<void> removePodNamespaces(EngineContext& context, PodSpec::Reader spec);

}  // namespace belay::shim
