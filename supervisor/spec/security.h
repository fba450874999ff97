// Which namespaces pods and containers may ask for, and which security settings belay cannot honour
// and therefore refuses.
#pragma once

#include <kj/array.h>

#include "shim/spec.capnp.h"
#include "supervisor/model.capnp.h"
#include "supervisor/spec/apparmor.h"

namespace belay::supervisor {

// What the host enforces. A label or profile that somebody chose is refused where it could not be
// applied; a wish for the default is none there, as everywhere in Kubernetes.
struct MandatoryAccessControl {
  AppArmor* apparmor;  // null: the kernel has none
  bool selinux;
};

// Throws for combinations the CRI forbids (INVALID_ARGUMENT) and what is not built (UNIMPLEMENTED).
void checkPodSecurity(PodConfig::Reader pod, MandatoryAccessControl host);
void checkContainerSecurity(ContainerConfig::Reader container, PodConfig::Reader pod,
                            MandatoryAccessControl host);

// The AppArmor profile of a container that was checked: its own, else the default one; empty where
// it is to be unconfined, as privileged ones are, or where there is nothing to apply.
kj::StringPtr apparmorProfile(SecurityContext::Reader security, AppArmor* apparmor);

// Paths below /proc and /sys that are hidden or made read-only. The client's lists when it gives
// either; belay's own when it gives none, for that is what clients without an opinion do. With a
// user namespace of the pod none means none: that is how Kubernetes says procMount: Unmasked, which
// it allows there alone. A privileged container has neither.
struct ProtectedPaths {
  kj::Array<kj::String> masked;
  kj::Array<kj::String> readonly;
};
ProtectedPaths protectedPaths(SecurityContext::Reader security);

}  // namespace belay::supervisor
