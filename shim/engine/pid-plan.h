// Which pid namespace a container's processes are in: the one place where its NamespaceMode is
// decided upon.
#pragma once

#include <kj/one-of.h>

#include "shim/engine/failure-value.h"
#include "shim/spec.capnp.h"

namespace belay::shim {

struct PidPlan {
  enum class Kind {
    OWN,     // A new one, in which nobody is before the container's first process.
    POD,     // The one that the pod's containers share, with the pod's init.
    TARGET,  // Another container's.
    HOST,    // This process's.
  };
  Kind kind;

  // Of POD a namespace file, of TARGET a pidfd, both borrowed and both for setns(2).
  int joined = -1;

  // True if somebody else may be in it: whoever of them may trace (CAP_SYS_PTRACE) can take a new
  // process over, so that none is born there with privileges of the shim's.
  bool isShared() const { return kind != Kind::OWN; }
};

// What there is to be shared.
struct SharedPids {
  // Of the pod's containers, or -1.
  int podNamespace = -1;

  // The pod's own mode is node: what its containers share is the host's.
  bool podUsesHosts = false;

  // First process of the target container, or -1.
  int targetPidfd = -1;
};

// A namespace that is not there is a failure (failedPrecondition), and never means the host's.
kj::OneOf<PidPlan, FailureValue> planPids(NamespaceMode mode, const SharedPids& shared);

}  // namespace belay::shim
