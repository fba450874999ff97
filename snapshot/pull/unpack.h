// `belay-pull unpack`: fills the staging folder of one layer from its tar.
#pragma once

#include <kj/io.h>

#include "snapshot/pull/layer-writer.h"

namespace belay::snapshot {

struct UnpackResult {
  uint64_t entries;
  uint64_t contentBytes;
};

// Reads a tar from `input` to its very end and makes its entries in the empty folder `root`. Errors
// as in LayerWriter::add, with the entry's name.
UnpackResult unpackLayer(kj::InputStream& input, kj::AutoCloseFd root, LayerLimits limits = {});

// The mode's main: descriptors as in pull.capnp. Returns the exit status.
int unpackMain();

}  // namespace belay::snapshot
