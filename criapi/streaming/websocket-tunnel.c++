// A byte stream within the binary messages of a WebSocket.
#include "criapi/streaming/websocket-tunnel.h"

#include <algorithm>

namespace belay::criapi::streaming {
namespace {

// Several pieces as one.
class PiecesSource final : public ByteSource {
 public:
  explicit PiecesSource(kj::ArrayPtr<const kj::ArrayPtr<const kj::byte>> pieces) : rest(pieces) {}

  kj::Maybe<size_t> read(kj::ArrayPtr<kj::byte> buffer) override {
    size_t filled = 0;
    while (rest.size() > 0 && filled < buffer.size()) {
      auto piece = rest[0].slice(begin, rest[0].size());
      size_t count = kj::min(piece.size(), buffer.size() - filled);
      std::copy_n(piece.begin(), count, buffer.begin() + filled);
      filled += count;
      begin += count;
      if (begin == rest[0].size()) {
        rest = rest.slice(1, rest.size());
        begin = 0;
      }
    }
    return filled;
  }

 private:
  kj::ArrayPtr<const kj::ArrayPtr<const kj::byte>> rest;
  size_t begin = 0;
};

}  // namespace

WebSocketTunnel::WebSocketTunnel(kj::AsyncIoStream& client, kj::Array<kj::byte> early)
    : client(client),
      early(kj::mv(early)),
      raw(kj::heapArray<kj::byte>(READ_BYTES)),
      writer(client, PIECE_BYTES) {}

WebSocketTunnel::~WebSocketTunnel() noexcept(false) {}

kj::Promise<size_t> WebSocketTunnel::tryRead(void* buffer, size_t minBytes, size_t maxBytes) {
  auto* to = static_cast<kj::byte*>(buffer);
  size_t filled = 0;
  if (early.size() > 0) {
    auto first = kj::mv(early);
    feed(first);
  }
  for (;;) {
    size_t count = kj::min(plain.size() - taken, maxBytes - filled);
    std::copy_n(plain.begin() + taken, count, to + filled);
    filled += count;
    taken += count;
    if (filled >= minBytes) co_return filled;
    plain.clear();
    taken = 0;
    if (reader.isClosed()) {
      // The answer to the client's close.
      co_await writer.flush();
      co_return filled;
    }
    co_await writer.whenControlIsSmall();
    size_t arrived = co_await client.tryRead(raw.begin(), 1, raw.size());
    if (arrived == 0) co_return filled;
    feed(raw.slice(0, arrived));
  }
}

void WebSocketTunnel::feed(kj::ArrayPtr<const kj::byte> bytes) {
  auto reply = reader.feed(bytes, *this);
  if (reply.size() > 0) writer.sendControl(reply);
}

kj::Promise<void> WebSocketTunnel::write(const void* buffer, size_t size) {
  kj::ArrayPtr<const kj::byte> piece(static_cast<const kj::byte*>(buffer), size);
  co_await write(kj::arrayPtr(&piece, 1));
}

kj::Promise<void> WebSocketTunnel::write(kj::ArrayPtr<const kj::ArrayPtr<const kj::byte>> pieces) {
  PiecesSource source(pieces);
  for (;;) {
    auto sent = co_await writer.sendPiece(source, *this);
    KJ_IF_MAYBE (bytes, sent) {
      if (*bytes == 0) co_return;
    }
  }
}

void WebSocketTunnel::shutdownWrite() {
  writer.sendControl(webSocketNormalClose());
  closing =
      writer.flush().then([this]() { client.shutdownWrite(); }).eagerlyEvaluate([](auto&&) {});
}

size_t WebSocketTunnel::writeHeader(kj::ArrayPtr<kj::byte> space, size_t payloadBytes) {
  return writeWebSocketHeader(space.begin(), payloadBytes);
}

}  // namespace belay::criapi::streaming
