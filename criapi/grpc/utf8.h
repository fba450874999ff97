// Text that a protobuf `string` may hold. Go's protobuf refuses a whole reply when one of its
// strings is not UTF-8, and names, paths and errno texts from outside need not be.
#pragma once

#include <kj/array.h>
#include <kj/string.h>

namespace belay::criapi::grpc {

// Whether the bytes are well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms, at most
// U+10FFFF).
bool isUtf8(kj::ArrayPtr<const char> bytes);

// The bytes with every maximal ill-formed part replaced by U+FFFD, as Unicode
// recommends (section 3.9). Well-formed text comes back unchanged.
kj::String sanitizeUtf8(kj::ArrayPtr<const char> bytes);

}  // namespace belay::criapi::grpc
