// Layers' media types.
#pragma once

#include <kj/common.h>
#include <kj/string.h>

namespace belay::snapshot {

enum class Compression { NONE, GZIP, ZSTD };

// What a layer of this media type may be, by the OCI image spec (layer.md) and Docker's manifest
// v2 schema 2; null for a type that is no layer known here.
kj::Maybe<Compression> compressionOfMediaType(kj::StringPtr mediaType);

}  // namespace belay::snapshot
