// The environment of a container's processes.
#pragma once

#include <kj/array.h>
#include <kj/string.h>

#include "snapshot/image.capnp.h"
#include "supervisor/model.capnp.h"

namespace belay::supervisor {

// "NAME=value" each; values are bytes of any kind. Later beats earlier: PATH's default, TERM of a
// terminal, the image's variables, HOSTNAME, the container's own. A variable keeps the place where
// it first came up. HOME is not set here: it depends on the rootfs's /etc/passwd.
kj::Array<kj::String> mergeEnvironment(ContainerConfig::Reader config,
                                       snapshot::ImageConfig::Reader image, kj::StringPtr hostname);

}  // namespace belay::supervisor
