// What a server that goes away leaves its calls to: another process's server.
#pragma once

#include <kj/array.h>
#include <kj/async.h>

#include "criapi/grpc/call.h"

namespace belay::criapi::grpc {

// How a unary call ended.
struct Reply {
  Status status;
  kj::Array<kj::byte> message;  // meaningful when the status is OK
};

// Carries calls out elsewhere. Dropping a promise gives the call up there, too. Throws only when
// nobody is there to be asked. Metadata and trailers stay behind.
class CallRelay {
 public:
  // `path` and `request` live as long as the promise.
  virtual kj::Promise<Reply> unary(kj::StringPtr path, kj::ArrayPtr<const kj::byte> request) = 0;
  // `writer` too; it gets the messages.
  virtual kj::Promise<Status> stream(kj::StringPtr path, kj::ArrayPtr<const kj::byte> request,
                                     MessageWriter& writer) = 0;

 protected:
  ~CallRelay() = default;
};

}  // namespace belay::criapi::grpc
