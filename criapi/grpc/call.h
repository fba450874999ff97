// What a method's handler sees of the call it serves, and how it answers with a stream of messages.
#pragma once

#include <kj/array.h>
#include <kj/async.h>
#include <kj/string.h>
#include <kj/time.h>

#include "criapi/grpc/status.h"

namespace belay::criapi::grpc {

// One name and value of a call's metadata. Names are lower case.
struct Header {
  kj::String name;
  kj::String value;
};

// A call being served. The server owns it; it outlives the handler's promise, and nothing that
// lives longer than that promise may refer to it.
//
// When the client cancels, its connection ends or the deadline passes, the handler's promise is
// dropped: that is the only sign of it a handler gets. Work that must be finished all the same
// belongs into a TaskSet of its owner, with the handler awaiting a fork of it.
class Call {
 public:
  // The method's path, "/runtime.v1.RuntimeService/Version".
  virtual kj::StringPtr path() const = 0;

  // The request's metadata without HTTP/2's own (":path" and so on), in the order it came.
  // Values are what the client sent: not checked to be UTF-8, "-bin" values still in base64.
  virtual kj::ArrayPtr<const Header> metadata() const = 0;

  // The first value of that name (lower case), such as "traceparent" or "user-agent".
  virtual kj::Maybe<kj::StringPtr> metadata(kj::StringPtr name) const = 0;

  // Time left until the client's deadline (never below zero), or null if it set none.
  virtual kj::Maybe<kj::Duration> timeLeft() const = 0;

  // Adds a trailer, sent with the call's status whatever that is. The name is lower case and
  // neither reserved ("grpc-...") nor HTTP/2's own; the value printable ASCII. For a name that ends
  // in "-bin" the value may be any bytes: they go out in base64.
  virtual void addTrailer(kj::StringPtr name, kj::StringPtr value) = 0;

  // Ends the call with this status once the handler's promise ends, in whatever way: neither the
  // mapping of exceptions nor OK then counts. A unary reply is not sent unless the status is OK.
  virtual void setStatus(Status status) = 0;

  // setStatus and throw: how a handler ends a call with a code of its choice.
  [[noreturn]] void fail(Code code, kj::StringPtr sentence);

 protected:
  ~Call() = default;
};

// Sends the messages of a server-streaming call.
class MessageWriter {
 public:
  // Queues one encoded message. The promise resolves when the client has taken enough of what is
  // queued for the next one to be welcome (back-pressure); dropping it takes nothing back.
  // One write at a time. Throws if the message exceeds the server's limits, and ends the call with
  // RESOURCE_EXHAUSTED then.
  [[nodiscard]] virtual kj::Promise<void> write(kj::Array<kj::byte> message) = 0;

 protected:
  ~MessageWriter() = default;
};

}  // namespace belay::criapi::grpc
