// The head of a client's HTTP/1.1 request.
#pragma once

#include <kj/async-io.h>
#include <kj/compat/http.h>
#include <kj/one-of.h>

namespace belay::criapi::streaming {

// A request that is answered with an error.
struct Refusal {
  unsigned status = 400;
  // One sentence for a person, the answer's body.
  kj::String text;
  // Whole lines with CRLF that belong to this status.
  kj::String headers = nullptr;
};

struct RequestHead {
  kj::HttpMethod method;
  // As sent.
  kj::String target;
  // Values of repeated headers are joined by ", ". Empty if there is none.
  kj::String connection, upgrade;
  kj::String streamProtocols;     // X-Stream-Protocol-Version
  kj::String webSocketProtocols;  // Sec-WebSocket-Protocol
  kj::String webSocketVersion, webSocketKey;
  // What the client sent after the head, in case it did not wait.
  kj::Array<kj::byte> early;
};

// More than any client sends; also the most that `early` can be.
constexpr size_t MAX_HEAD_BYTES = 64 * 1024;

// `bytes` up to and with the empty line.
kj::OneOf<RequestHead, Refusal> parseHead(kj::ArrayPtr<const char> bytes);

// Reads until the head is complete. nullptr when the client left before. No time-out of its own.
kj::Promise<kj::Maybe<kj::OneOf<RequestHead, Refusal>>> readHead(kj::AsyncInputStream& client);

// The whole answer: closes the connection.
kj::String refusalResponse(const Refusal& refusal);

}  // namespace belay::criapi::streaming
