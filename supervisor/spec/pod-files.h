// /etc/hosts, /etc/hostname and /etc/resolv.conf of a pod's containers: files in the pod's own
// folder that are bound into each of them, unless the container brings its own.
#pragma once

#include <kj/string.h>

#include "supervisor/model.capnp.h"

namespace belay::supervisor {

struct PodFiles {
  kj::String hosts;
  kj::String hostname;
  kj::String resolvConf;
};

// The host's own, for pods in its network and for resolv.conf of pods without DNS settings. Files
// that do not exist are empty; more than 1 MiB of one is not read.
PodFiles readHostFiles();

// What a pod gets. `hostname` is PodSpec.hostname and `ips` are its addresses; both are for pods
// with a network of their own, the others see the host's files. A pod without DNS settings, or with
// empty ones, gets the host's resolv.conf. INVALID_ARGUMENT for what would break a line.
PodFiles renderPodFiles(PodConfig::Reader pod, kj::StringPtr hostname,
                        kj::ArrayPtr<const kj::StringPtr> ips, const PodFiles& host);

// Writes "hosts", "hostname" and "resolv.conf" (0644) into the pod's folder, replacing what is
// there by content, not by rename: containers may have them bound already. `owner` is the host's
// id, of user and group, that is the containers' root.
void writePodFiles(int podFolder, const PodFiles& files, uint32_t owner);

}  // namespace belay::supervisor
