// What a client of the CRI asked to stream, from the RPC that gives out the URL to the connection
// that comes to it.
#pragma once

#include <kj/array.h>
#include <kj/one-of.h>
#include <kj/string.h>

#include "criapi/streaming/session.capnp.h"
#include "supervisor/runtime.h"

namespace belay::criapi::streaming {

struct ExecRequest {
  kj::String containerId;
  kj::Array<kj::String> command;
  bool tty;
  supervisor::StreamSet streams;
};

struct AttachRequest {
  kj::String containerId;
  bool tty;
  supervisor::StreamSet streams;
};

struct PortForwardRequest {
  kj::String podId;
  kj::Array<uint16_t> ports;  // none: whichever the connection names
};

using StreamRequest = kj::OneOf<ExecRequest, AttachRequest, PortForwardRequest>;

inline Kind kindOf(const StreamRequest& request) {
  if (request.is<ExecRequest>()) return Kind::EXEC;
  return request.is<AttachRequest>() ? Kind::ATTACH : Kind::PORT_FORWARD;
}

// Gives out URLs.
class StreamUrls {
 public:
  // An absolute URL that is good for one connection within a minute. Throws RESOURCE_EXHAUSTED when
  // too many wait for theirs.
  virtual kj::String urlFor(StreamRequest request) = 0;

 protected:
  ~StreamUrls() = default;
};

}  // namespace belay::criapi::streaming
