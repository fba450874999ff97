// Addresses that no DEL can free.
//
// The IPAM plug-in host-local keeps an address that is taken as a file of its name, in which the
// owner's id is written. It syncs neither, and after a power cut the file may be there and the id
// not: to DEL, which looks for the id, that address is another's, for ever.
#pragma once

#include "supervisor/cni/network-list.h"

namespace belay::supervisor {

// Removes the files without an id from where this list's plug-ins keep addresses by host-local.
// Under host-local's own lock, so that none of them is one that is just being written; nothing is
// done if the lock is taken. Returns how many there were. Throws what the file system says.
int freeNamelessLeases(const NetworkList& list);

}  // namespace belay::supervisor
