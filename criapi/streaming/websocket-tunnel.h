// A byte stream within the binary messages of a WebSocket, whose boundaries mean nothing.
#pragma once

#include <kj/async-io.h>

#include "criapi/streaming/frame-writer.h"
#include "criapi/streaming/websocket-reader.h"

namespace belay::criapi::streaming {

// Subprotocol SPDY/3.1+portforward.k8s.io: SPDY on top of this. One reader and one writer at a
// time.
class WebSocketTunnel final : public kj::AsyncIoStream, private WebSocketHandler, private Framer {
 public:
  // `early` are bytes that came with the request's head. `client` outlives the tunnel.
  WebSocketTunnel(kj::AsyncIoStream& client, kj::Array<kj::byte> early);
  ~WebSocketTunnel() noexcept(false);

  kj::Promise<size_t> tryRead(void* buffer, size_t minBytes, size_t maxBytes) override;
  kj::Promise<void> write(const void* buffer, size_t size) override;
  kj::Promise<void> write(kj::ArrayPtr<const kj::ArrayPtr<const kj::byte>> pieces) override;
  kj::Promise<void> whenWriteDisconnected() override { return client.whenWriteDisconnected(); }
  // Closes the WebSocket, once what was written has gone out.
  void shutdownWrite() override;

 private:
  static constexpr size_t READ_BYTES = 64 * 1024;
  static constexpr size_t PIECE_BYTES = 64 * 1024;

  kj::AsyncIoStream& client;
  kj::Array<kj::byte> early;
  kj::Array<kj::byte> raw;
  WebSocketReader reader;
  // Bytes of the stream that have been read and not yet been taken.
  kj::Vector<kj::byte> plain;
  size_t taken = 0;
  FrameWriter writer;
  kj::Promise<void> closing = kj::READY_NOW;

  void feed(kj::ArrayPtr<const kj::byte> bytes);
  void messageBegan() override {}
  void messageBytes(kj::ArrayPtr<const kj::byte> bytes) override { plain.addAll(bytes); }
  void messageEnded() override {}
  size_t writeHeader(kj::ArrayPtr<kj::byte> space, size_t payloadBytes) override;
};

}  // namespace belay::criapi::streaming
