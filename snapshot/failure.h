// The one failure carrier inside belayd: a kj::Exception that knows which gRPC status it means and
// says in one sentence what went wrong. Used by snapshot, supervisor and criapi alike.
#pragma once

#include <kj/exception.h>
#include <kj/string.h>

#include <source_location>

namespace belay::snapshot {

// gRPC's status codes, as far as belay answers with them
// (https://grpc.github.io/grpc/core/md_doc_statuscodes.html).
enum class Code {
  INVALID_ARGUMENT,
  NOT_FOUND,
  ALREADY_EXISTS,
  FAILED_PRECONDITION,
  UNAVAILABLE,
  UNAUTHENTICATED,
  RESOURCE_EXHAUSTED,
  DEADLINE_EXCEEDED,
  UNIMPLEMENTED,
  INTERNAL,
};

// "NOT_FOUND" and so on.
kj::StringPtr nameOf(Code code);

// An exception whose description is "CODE: sentence". The sentence is for a person: layer, step,
// object, errno's text, and what to do about it where that is known. Use as
//
//     kj::throwFatalException(failure(Code::NOT_FOUND, kj::str("image ", name, " is not here")));
//
// or, shorter, `fail(Code::NOT_FOUND, ...)`.
[[nodiscard]] kj::Exception failure(Code code, kj::StringPtr sentence,
                                    std::source_location where = std::source_location::current());

// A code, and where in the source it was named.
struct LocatedCode {
  LocatedCode(Code code, std::source_location where = std::source_location::current())
      : code(code), where(where) {}
  Code code;
  std::source_location where;
};

// Throws failure(code, kj::str(parts...)).
template <typename... Parts>
[[noreturn]] void fail(LocatedCode at, Parts&&... parts) {
  kj::throwFatalException(failure(at.code, kj::str(kj::fwd<Parts>(parts)...), at.where));
}

// The code of an exception made by failure(). Any other exception gets one by its KJ type:
// OVERLOADED (out of memory, disk or files) is RESOURCE_EXHAUSTED, DISCONNECTED is UNAVAILABLE,
// UNIMPLEMENTED is itself, and everything else is INTERNAL.
Code codeOf(const kj::Exception& exception);

// The sentence without its code; for other exceptions the whole description.
// Valid as long as the exception is.
kj::StringPtr messageOf(const kj::Exception& exception);

// The same failure with "prefix: " before its sentence: how a layer says what it was about.
[[nodiscard]] kj::Exception prefixed(const kj::Exception& exception, kj::StringPtr prefix);

}  // namespace belay::snapshot
