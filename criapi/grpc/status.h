// How a gRPC call ends: a status code and a sentence, and their form on the wire.
// Rules: https://grpc.github.io/grpc/core/md_doc_statuscodes.html and PROTOCOL-HTTP2.md of gRPC.
#pragma once

#include <kj/exception.h>
#include <kj/string.h>

#include <cstdint>

namespace belay::criapi::grpc {

// The numbers are the wire's.
enum class Code : uint8_t {
  OK = 0,
  CANCELLED = 1,
  UNKNOWN = 2,
  INVALID_ARGUMENT = 3,
  DEADLINE_EXCEEDED = 4,
  NOT_FOUND = 5,
  ALREADY_EXISTS = 6,
  PERMISSION_DENIED = 7,
  RESOURCE_EXHAUSTED = 8,
  FAILED_PRECONDITION = 9,
  ABORTED = 10,
  OUT_OF_RANGE = 11,
  UNIMPLEMENTED = 12,
  INTERNAL = 13,
  UNAVAILABLE = 14,
  DATA_LOSS = 15,
  UNAUTHENTICATED = 16,
};

// "NOT_FOUND" and so on; for logs and metrics.
kj::StringPtr nameOf(Code code);

// The end of a call. `message` is text for a person; it may hold any bytes (see encodeMessage).
struct Status {
  Code code = Code::OK;
  kj::String message;

  bool isOk() const { return code == Code::OK; }
};

// Decides what a handler's exception tells the client. Must not throw.
using StatusOfException = Status (*)(const kj::Exception&);

// The mapping for exceptions that say nothing of gRPC: KJ's DISCONNECTED is UNAVAILABLE,
// UNIMPLEMENTED itself, OVERLOADED (out of memory, disk or files) RESOURCE_EXHAUSTED, anything else
// INTERNAL. The message is the exception's description.
Status statusOfKjException(const kj::Exception& exception);

// Percent-encodes a message for the `grpc-message` trailer: printable ASCII but '%' stays, every
// other byte of its UTF-8 becomes %XX. Bytes that are not UTF-8 are replaced first (utf8.h). A long
// message is cut between characters, with an ellipsis, because clients refuse header lists above
// 8 to 16 KiB and would then see no status at all.
kj::String encodeMessage(kj::StringPtr message);

// The longest value encodeMessage returns, in bytes.
constexpr size_t MAX_ENCODED_MESSAGE_BYTES = 6 * 1024;

}  // namespace belay::criapi::grpc
