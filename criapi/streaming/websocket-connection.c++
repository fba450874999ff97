// An exec's or attach's client that speaks WebSocket.
#include "criapi/streaming/websocket-connection.h"

#include <kj/debug.h>

namespace belay::criapi::streaming {
namespace {

enum ChannelNumber : kj::byte { IN = 0, OUT = 1, ERR = 2, ERROR = 3, RESIZE = 4 };

// Well below the 61 s after which client-go gives up.
constexpr kj::Duration PONG_INTERVAL = 10 * kj::SECONDS;

}  // namespace

class WebSocketConnection::Channel final : public Stream, private Framer {
 public:
  Channel(WebSocketConnection& connection, kj::byte number)
      : connection(connection), number(number) {
    connection.open[number] = this;
  }
  // The protocol has no way to reset a channel.
  ~Channel() noexcept(false) override { connection.open[number] = nullptr; }

  void accept(Receiver& to) override { receiver = to; }

  kj::Promise<kj::Maybe<size_t>> send(ByteSource& source) override {
    return connection.writer.sendPiece(source, *this);
  }

  // Nor to end one, in this direction: the clients wait for the status.
  void end() override {}

  void receive(kj::ArrayPtr<const kj::byte> bytes) {
    if (ended) return;
    KJ_IF_MAYBE (to, receiver) to->received(bytes);
  }

  void endInput() {
    if (ended) return;
    ended = true;
    KJ_IF_MAYBE (to, receiver) to->ended();
  }

 private:
  WebSocketConnection& connection;
  kj::byte number;
  bool ended = false;
  kj::Maybe<Receiver&> receiver;

  size_t writeHeader(kj::ArrayPtr<kj::byte> space, size_t payloadBytes) override {
    connection.activity.touch();
    size_t size = writeWebSocketHeader(space.begin(), payloadBytes + 1);
    space[size] = number;
    return size + 1;
  }
};

WebSocketConnection::WebSocketConnection(kj::AsyncIoStream& client, kj::Array<kj::byte> early,
                                         Channels channels, kj::Timer& timer, InputBacklog& backlog,
                                         Activity& activity)
    : client(client),
      early(kj::mv(early)),
      channels(channels),
      timer(timer),
      backlog(backlog),
      activity(activity),
      writer(client, PIECE_BYTES) {}

WebSocketConnection::~WebSocketConnection() noexcept(false) {}

kj::Promise<void> WebSocketConnection::run(StreamAcceptor& acceptor) {
  openChannels(acceptor);
  auto first = kj::mv(early);
  feed(first);
  first = nullptr;
  auto buffer = kj::heapArray<kj::byte>(READ_BYTES);
  while (!reader.isClosed()) {
    if (backlog.isFull()) co_await backlog.whenBelowLimit().exclusiveJoin(pongWhileFull());
    co_await writer.whenControlIsSmall();
    size_t count = co_await client.tryRead(buffer.begin(), 1, buffer.size());
    if (count == 0) co_return;
    feed(buffer.slice(0, count));
  }
  // The answer to the client's close.
  co_await writer.flush();
}

void WebSocketConnection::openChannels(StreamAcceptor& acceptor) {
  auto openChannel = [&](bool wanted, ChannelNumber number, const char* type) {
    if (!wanted) return;
    StreamHeaders headers;
    headers.type = kj::heapString(type);
    headers.id = number;
    acceptor.opened(kj::heap<Channel>(*this, number), kj::mv(headers));
  };
  openChannel(true, ERROR, "error");
  openChannel(channels.in, IN, "stdin");
  openChannel(channels.out, OUT, "stdout");
  openChannel(channels.err, ERR, "stderr");
  openChannel(channels.resize, RESIZE, "resize");

  // Clients take the first message as the sign that the session has begun.
  kj::byte lowest = channels.out ? OUT : channels.err ? ERR : ERROR;
  kj::byte start[MAX_WEBSOCKET_HEADER_BYTES + 1];
  size_t size = writeWebSocketHeader(start, 1);
  start[size] = lowest;
  writer.sendControl(kj::arrayPtr(start, size + 1));
}

void WebSocketConnection::feed(kj::ArrayPtr<const kj::byte> bytes) {
  auto reply = reader.feed(bytes, *this);
  if (reply.size() > 0) writer.sendControl(reply);
}

// A client whose pings cannot be read, because its input has nowhere to go, learns all the same
// that somebody is here (RFC 6455, 5.5.3).
kj::Promise<void> WebSocketConnection::pongWhileFull() {
  for (;;) {
    writer.sendControl(webSocketEmptyPong());
    co_await timer.afterDelay(PONG_INTERVAL);
  }
}

kj::Promise<void> WebSocketConnection::finish() {
  writer.sendControl(webSocketNormalClose());
  co_await writer.flush();
  client.shutdownWrite();
}

void WebSocketConnection::messageBytes(kj::ArrayPtr<const kj::byte> bytes) {
  KJ_IF_MAYBE (channel, messageChannel) {
    channelBytes(*channel, bytes);
  } else {
    messageChannel = bytes[0];
    if (bytes.size() > 1) channelBytes(bytes[0], bytes.slice(1, bytes.size()));
  }
}

void WebSocketConnection::channelBytes(kj::byte channel, kj::ArrayPtr<const kj::byte> bytes) {
  if (channel == HALF_CLOSE && channels.halfClose) {
    kj::byte ended = bytes[0];
    if (ended < CHANNEL_COUNT && open[ended] != nullptr) open[ended]->endInput();
    return;
  }
  // What clients send on other channels means nothing.
  if (channel != IN && channel != RESIZE) return;
  activity.touch();
  if (open[channel] != nullptr) open[channel]->receive(bytes);
}

}  // namespace belay::criapi::streaming
