// Inflates a gzip'd message with a cap on its size: a few KiB may claim to be gigabytes.
#pragma once

#include <kj/array.h>
#include <kj/one-of.h>

#include "criapi/grpc/byte-budget.h"
#include "criapi/grpc/status.h"

namespace belay::criapi::grpc {

// The inflated bytes, which `lease` then holds; or why there are none: INTERNAL for what is no
// gzip, RESOURCE_EXHAUSTED for more than `maxBytes` or than the lease allows.
kj::OneOf<kj::Array<kj::byte>, Status> gunzip(kj::ArrayPtr<const kj::byte> compressed,
                                              size_t maxBytes, ByteLease& lease);

}  // namespace belay::criapi::grpc
