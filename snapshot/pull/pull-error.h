// How belay-pull carries a failure inside: a kj::Exception whose description starts with the name
// of its FailureCode (pull.capnp), so that the one place that reports to belayd finds both the code
// and the sentence for a person.
#pragma once

#include <kj/exception.h>
#include <kj/string.h>

#include "snapshot/pull.capnp.h"

namespace belay::snapshot {

// An exception that carries `code` and `sentence`; throw it with kj::throwFatalException.
kj::Exception pullError(FailureCode code, kj::StringPtr sentence);

// The code of an exception made by pullError; INTERNAL for every other.
FailureCode pullErrorCode(const kj::Exception& exception);

// What to tell a person: the sentence without its code, without control characters (names out of
// archives and registries' messages are strangers' bytes), at most MAX_SENTENCE_BYTES long.
kj::String pullErrorSentence(const kj::Exception& exception);

// `text` on one line: control characters become '?', and what is beyond `maxBytes` is cut.
kj::String oneLine(kj::StringPtr text, size_t maxBytes);

constexpr size_t MAX_SENTENCE_BYTES = 2048;

// Throws pullError(code, kj::str(parts...)).
template <typename... Parts>
[[noreturn]] void failPull(FailureCode code, Parts&&... parts) {
  kj::throwFatalException(pullError(code, kj::str(kj::fwd<Parts>(parts)...)));
}

}  // namespace belay::snapshot
