// What a container runs, where, and how it is asked to stop: the container's settings merged with
// the image's.
#pragma once

#include <kj/array.h>

#include "snapshot/image.capnp.h"
#include "supervisor/model.capnp.h"

namespace belay::supervisor {

// argv: command replaces the image's ENTRYPOINT and drops its CMD, args replaces its CMD (the CRI's
// ContainerConfig.command and .args). INVALID_ARGUMENT "no command specified" when nothing is left.
// Borrows from its arguments.
kj::Array<kj::StringPtr> mergeArguments(ContainerConfig::Reader config,
                                        snapshot::ImageConfig::Reader image);

// The container's working_dir, else the image's, else "/".
kj::String workingDirectory(ContainerConfig::Reader config, snapshot::ImageConfig::Reader image);

// Number of the signal that StopContainer sends first: the container's, else the image's
// STOPSIGNAL, else SIGTERM.
int stopSignal(ContainerConfig::Reader config, snapshot::ImageConfig::Reader image);

// A signal as an image says it: "SIGTERM", "term", "15", "SIGRTMIN+3", "RTMAX-1". Absent when it is
// none.
kj::Maybe<int> parseSignal(kj::StringPtr text);

}  // namespace belay::supervisor
