// Who a container's processes are.
#pragma once

#include "shim/spec.capnp.h"
#include "snapshot/image.capnp.h"
#include "supervisor/model.capnp.h"

namespace belay::supervisor {

// run_as_user or run_as_username, else the image's USER, else root. run_as_group needs one of the
// first two (LinuxContainerSecurityContext of the CRI). Names are looked up later, inside the
// rootfs.
void fillUser(shim::User::Builder user, SecurityContext::Reader security,
              snapshot::ImageConfig::Reader image);

}  // namespace belay::supervisor
