// What a registry's refusal means, and how to tell a person.
#pragma once

#include <kj/array.h>
#include <kj/string.h>

#include "snapshot/pull.capnp.h"

namespace belay::snapshot {

// 401 and 403 are UNAUTHORIZED, 404 NOT_FOUND, 408, 429 and 5xx UNAVAILABLE, all others INVALID.
FailureCode codeOfStatus(unsigned status);

// "HTTP 404 (MANIFEST_UNKNOWN: manifest unknown)": the status, and the registry's own code and
// message where the body has them (OCI distribution-spec, "Error Codes").
kj::String describeRefusal(unsigned status, kj::ArrayPtr<const kj::byte> body);

}  // namespace belay::snapshot
