// What belayd and its service manager say to each other: systemd, or whatever speaks its protocols,
// sd_notify(3) and sd_listen_fds(3). Without one, all of this does nothing.
#pragma once

#include <kj/io.h>
#include <kj/string.h>
#include <kj/vector.h>

namespace belay::supervisor {

// "READY=1", "STOPPING=1".
void notifyServiceManager(kj::StringPtr message);

// Announces that the service is being replaced by a program that will say "READY=1".
void notifyReloading();

// A descriptor from outside, with the name its unit or the one who stored it gave it.
struct GivenDescriptor {
  kj::String name;
  kj::AutoCloseFd fd;
};

// Listening sockets of socket units and what the descriptor store has kept. Once, before anything
// else opens descriptors; takes the variables out of the environment.
kj::Vector<GivenDescriptor> takeGivenDescriptors();

// Has the service manager keep a duplicate across this process's death, under a name of printable
// ASCII without ':' that no other stored one has. Until it is removed: whether its other end is
// closed or not.
void storeDescriptor(kj::StringPtr name, int fd);
void removeStoredDescriptor(kj::StringPtr name);

}  // namespace belay::supervisor
