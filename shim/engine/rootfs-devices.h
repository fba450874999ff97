// Device nodes, the usual links below /dev, and the terminal. For children after the clone:
// allocates nothing, reports failures and exits.
#pragma once

#include "shim/engine/report.h"
#include "shim/spec.capnp.h"

namespace belay::shim {

// Makes the nodes inside the rootfs. A device without a type is looked up on the host, which must
// be what "/" still is. The nodes belong to whom this process makes files as, but for those that
// are to be the host's.
void makeDevices(const Reporter& reporter, int root, capnp::List<Device>::Reader devices);

// /dev/fd, stdin, stdout, stderr and ptmx, as the OCI runtime specification (config-linux.md,
// default devices) wants them. One that is there stays.
void makeDeviceLinks(const Reporter& reporter, int root);

struct Terminal {
  int master;
  int slave;
};

// Opens a new pseudo-terminal of the devpts at /dev/pts below `root`, after making sure that it is
// one: a container may have put anything there.
Terminal openTerminal(const Reporter& reporter, int root);

// Puts the terminal at /dev/console.
void mountConsole(const Reporter& reporter, int root, int slave);

}  // namespace belay::shim
