// How the spec builder refuses: a sentence that begins with the field's name as the CRI spells it.
#pragma once

#include <kj/string.h>

#include "snapshot/failure.h"

namespace belay::supervisor {

// Throws INVALID_ARGUMENT: "FIELD: reason".
template <typename... Parts>
[[noreturn]] void refuse(kj::StringPtr field, Parts&&... reason) {
  snapshot::fail(snapshot::Code::INVALID_ARGUMENT, field, ": ", kj::fwd<Parts>(reason)...);
}

// Throws UNIMPLEMENTED: "FIELD: reason", for what belay knows but does not apply.
template <typename... Parts>
[[noreturn]] void notApplied(kj::StringPtr field, Parts&&... reason) {
  snapshot::fail(snapshot::Code::UNIMPLEMENTED, field, ": ", kj::fwd<Parts>(reason)...);
}

// Refuses text with a NUL byte inside: the kernel would see only what is before it.
void requireNoNul(kj::StringPtr field, kj::ArrayPtr<const char> text);

// The path without ".", doubled or trailing slashes, ".." applied by name and never above "/". For
// paths that are later resolved inside a root by descriptor; nothing is looked up. Refuses what is
// not absolute, has a NUL byte, or is longer than the kernel takes (PATH_MAX).
kj::String cleanPath(kj::StringPtr field, kj::StringPtr path);

// cleanPath(), but ".." is refused: for paths of the host and of cgroups, where a symbolic link
// could make the name and the thing differ.
kj::String strictPath(kj::StringPtr field, kj::StringPtr path);

}  // namespace belay::supervisor
