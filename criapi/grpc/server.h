// A gRPC server for one thread: HTTP/2 by nghttp2 on KJ's event loop, unary and server-streaming
// methods, messages as bytes or as protobuf-lite types.
//
//     grpc::Server server(io.provider->getTimer(), {.statusOf = statusOfFailure});
//     server.unary<v1::VersionRequest, v1::VersionResponse>(
//         "/runtime.v1.RuntimeService/Version",
//         [&](grpc::Call& call, const v1::VersionRequest& request) ->
//         kj::Promise<v1::VersionResponse> {
//           ...
//           co_return response;
//         });
//     server.accept(kj::mv(stream));   // each that connects
//     ...
//     co_await server.drain();
//
// A handler fails by throwing: Options::statusOf makes the status of the exception. It may also
// choose one itself with call.fail(). It is cancelled by dropping its promise, see call.h.
#pragma once

#include <kj/array.h>
#include <kj/async-io.h>
#include <kj/function.h>
#include <kj/string.h>
#include <kj/timer.h>

#include <climits>

#include "criapi/grpc/call.h"
#include "criapi/grpc/relay.h"
#include "criapi/grpc/status.h"

namespace belay::criapi::grpc {

// Serves one unary call: takes the request's bytes, which live as long as the promise, gives the
// reply's.
using UnaryHandler = kj::Function<kj::Promise<kj::Array<kj::byte>>(
    Call& call, kj::ArrayPtr<const kj::byte> request)>;

// Serves one server-streaming call: the stream ends when the promise does. `request` and `writer`
// live as long as `call`.
using StreamHandler = kj::Function<kj::Promise<void>(
    Call& call, kj::ArrayPtr<const kj::byte> request, MessageWriter& writer)>;

// What becomes of a method's calls in progress when they are relayed (Server::relayTo).
enum class OnRelay {
  REPEAT,  // the handler is dropped, and the relay asked instead
  FINISH,  // it goes on here: to begin again would do something twice
};

// A call that ended, for logs and metrics. The strings are valid during the callback.
struct CallReport {
  kj::StringPtr path;
  Code code;
  kj::StringPtr message;
  kj::Duration elapsed;
};

// A server's limits and how it reports. The limits protect the process from its clients: what
// exceeds one is refused with RESOURCE_EXHAUSTED and a sentence, or with HTTP/2's own error.
struct Options {
  // Largest message in either direction, compressed or inflated. 16 MiB is the kubelet's limit.
  size_t maxMessageBytes = 16 * 1024 * 1024;
  // A call's metadata, counted as RFC 9113 section 6.5.2 does.
  size_t maxHeaderListBytes = 64 * 1024;
  // Calls at once on one connection; clients queue the rest.
  uint32_t maxConcurrentCalls = 1000;
  // Requests and replies held in memory.
  size_t maxBufferedBytesPerConnection = 64 * 1024 * 1024;
  size_t maxBufferedBytes = 256 * 1024 * 1024;
  // Further connections are closed at once.
  uint32_t maxConnections = 256;
  // Calls a client may abort: `resetBurst` at once, `resetsPerSecond` in the long run. More closes
  // the connection (CVE-2023-44487, rapid reset).
  uint32_t resetBurst = 1000;
  uint32_t resetsPerSecond = 33;
  // After this time without a byte from the client a PING is sent, and the connection is closed if
  // nothing came `keepaliveTimeout` later. Off unless set: a Unix socket's peer cannot vanish
  // without a sign. (Clients' own PINGs are always answered.)
  kj::Maybe<kj::Duration> keepaliveInterval;
  kj::Duration keepaliveTimeout = 20 * kj::SECONDS;

  // What a handler's exception tells the client.
  StatusOfException statusOf = &statusOfKjException;
  // Called once at the end of each call whose method exists. A call the client gave up is
  // reported as CANCELLED. Must not throw.
  kj::Maybe<kj::Function<void(const CallReport&)>> onCallEnd;
};

// Sends the messages of a server-streaming call; see MessageWriter for what the promise means.
template <typename Response>
class StreamWriter {
 public:
  explicit StreamWriter(Call& call, MessageWriter& writer) : call(call), writer(writer) {}

  // Encodes and queues one message; `message` is not used after this returns.
  [[nodiscard]] kj::Promise<void> write(const Response& message);

 private:
  Call& call;
  MessageWriter& writer;
};

// The server: a table of methods and the connections being served. Not tied to any socket.
// Destroying it drops all handlers' promises and closes all connections.
class Server {
 public:
  // `timer` outlives the server.
  explicit Server(kj::Timer& timer, Options options = {});
  ~Server() noexcept(false);
  KJ_DISALLOW_COPY_AND_MOVE(Server);

  // Adds a method. `path` is "/package.Service/Method"; twice the same is an error. Add all methods
  // before the first connection. The handler lives as long as the server, so a lambda that is a
  // coroutine may use its captures after a co_await.
  void addUnary(kj::StringPtr path, UnaryHandler handler, OnRelay onRelay = OnRelay::REPEAT);
  void addStream(kj::StringPtr path, StreamHandler handler);

  // The same for protobuf messages. `request` lives as long as the handler's promise. A request
  // that cannot be parsed ends as INTERNAL without the handler being called. The strings of a reply
  // must be UTF-8: see sanitizeUtf8 in utf8.h.
  template <typename Request, typename Response>
  void unary(kj::StringPtr path,
             kj::Function<kj::Promise<Response>(Call& call, const Request& request)> handler,
             OnRelay onRelay = OnRelay::REPEAT);
  template <typename Request, typename Response>
  void serverStream(kj::StringPtr path,
                    kj::Function<kj::Promise<void>(Call& call, const Request& request,
                                                   StreamWriter<Response>& writer)>
                        handler);

  // Serves an accepted connection (HTTP/2 without TLS, "prior knowledge") until it ends; once
  // drain() was called, closes it.
  void accept(kj::Own<kj::AsyncIoStream> stream);

  // Ends gracefully: no new connections, GOAWAY on those there are, and resolves when the calls in
  // progress have ended and their replies are sent. A client that does not answer a PING within
  // `patience` (some read only while they call) has not seen that, and its connection is closed all
  // the same; one that has seen it is left to close first, for as long. Sets no other time limit:
  // drop the server to end what is left. May be called again.
  [[nodiscard]] kj::Promise<void> drain(kj::Duration patience = 1 * kj::SECONDS);

  // Makes a call from within the process: what a relay's other end does. Dropping the promise gives
  // the call up. An unknown method, or one of the other kind, is UNIMPLEMENTED. `path` lives as
  // long as the promise, and so does `writer`.
  [[nodiscard]] kj::Promise<Reply> call(kj::StringPtr path, kj::Array<const kj::byte> request);
  [[nodiscard]] kj::Promise<Status> call(kj::StringPtr path, kj::Array<const kj::byte> request,
                                         MessageWriter& writer);

  // From here on the relay, which outlives the server, carries out all calls, those in progress
  // too, unless their reply has begun or their method is OnRelay::FINISH. Once.
  void relayTo(CallRelay& relay);

  // How many connections are open.
  size_t connectionCount() const;

 private:
  class Impl;
  kj::Own<Impl> impl;
};

// -------------------------------------------------------------------------------------------------
// Implementation of the templates

namespace detail {

// Ends the call for a request or reply that protobuf cannot decode or encode.
[[noreturn]] void failParse(Call& call, kj::StringPtr typeName);
[[noreturn]] void failSerialize(Call& call, kj::StringPtr typeName, size_t bytes);

template <typename Message>
void parse(Call& call, kj::ArrayPtr<const kj::byte> bytes, Message& message) {
  if (bytes.size() > static_cast<size_t>(INT_MAX) ||
      !message.ParseFromArray(bytes.begin(), static_cast<int>(bytes.size()))) {
    failParse(call, message.GetTypeName().c_str());
  }
}

template <typename Message>
kj::Array<kj::byte> serialize(Call& call, const Message& message) {
  size_t size = message.ByteSizeLong();
  if (size > static_cast<size_t>(INT_MAX)) {
    failSerialize(call, message.GetTypeName().c_str(), size);
  }
  auto bytes = kj::heapArray<kj::byte>(size);
  if (!message.SerializeToArray(bytes.begin(), static_cast<int>(size))) {
    failSerialize(call, message.GetTypeName().c_str(), size);
  }
  return bytes;
}

template <typename Request, typename Response, typename Handler>
kj::Promise<kj::Array<kj::byte>> serveUnary(Handler& handler, Call& call,
                                            kj::ArrayPtr<const kj::byte> bytes) {
  Request request;
  parse(call, bytes, request);
  Response response = co_await handler(call, request);
  co_return serialize(call, response);
}

template <typename Request, typename Response, typename Handler>
kj::Promise<void> serveStream(Handler& handler, Call& call, kj::ArrayPtr<const kj::byte> bytes,
                              MessageWriter& writer) {
  Request request;
  parse(call, bytes, request);
  StreamWriter<Response> typedWriter(call, writer);
  co_await handler(call, request, typedWriter);
}

}  // namespace detail

template <typename Response>
kj::Promise<void> StreamWriter<Response>::write(const Response& message) {
  return writer.write(detail::serialize(call, message));
}

template <typename Request, typename Response>
void Server::unary(kj::StringPtr path,
                   kj::Function<kj::Promise<Response>(Call&, const Request&)> handler,
                   OnRelay onRelay) {
  auto serve = [handler = kj::mv(handler)](Call& call, kj::ArrayPtr<const kj::byte> bytes) mutable {
    return detail::serveUnary<Request, Response>(handler, call, bytes);
  };
  addUnary(path, kj::mv(serve), onRelay);
}

template <typename Request, typename Response>
void Server::serverStream(
    kj::StringPtr path,
    kj::Function<kj::Promise<void>(Call&, const Request&, StreamWriter<Response>&)> handler) {
  addStream(path, [handler = kj::mv(handler)](Call& call, kj::ArrayPtr<const kj::byte> bytes,
                                              MessageWriter& writer) mutable {
    return detail::serveStream<Request, Response>(handler, call, bytes, writer);
  });
}

}  // namespace belay::criapi::grpc
