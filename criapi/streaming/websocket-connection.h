// An exec's or attach's client that speaks WebSocket.
#pragma once

#include <kj/async-io.h>
#include <kj/timer.h>

#include "criapi/streaming/activity.h"
#include "criapi/streaming/frame-writer.h"
#include "criapi/streaming/input-backlog.h"
#include "criapi/streaming/websocket-reader.h"

namespace belay::criapi::streaming {

// Each message is one byte for the channel and bytes for its stream. The channels are fixed: nobody
// opens them, so this opens them all for the session.
class WebSocketConnection final : public Connection, private WebSocketHandler {
 public:
  struct Channels {
    bool in = false, out = false, err = false, resize = false;
    // v5: the client can end its side of a channel.
    bool halfClose = false;
  };

  // `early` are bytes that came with the request's head. The references outlive the connection.
  WebSocketConnection(kj::AsyncIoStream& client, kj::Array<kj::byte> early, Channels channels,
                      kj::Timer& timer, InputBacklog& backlog, Activity& activity);
  ~WebSocketConnection() noexcept(false);

  kj::Promise<void> run(StreamAcceptor& acceptor) override;
  kj::Promise<void> finish() override;

 private:
  class Channel;

  static constexpr size_t READ_BYTES = 64 * 1024;
  // The clients read 32 KiB at a time.
  static constexpr size_t PIECE_BYTES = 32 * 1024;
  static constexpr size_t CHANNEL_COUNT = 5;
  static constexpr kj::byte HALF_CLOSE = 255;

  kj::AsyncIoStream& client;
  kj::Array<kj::byte> early;
  Channels channels;
  kj::Timer& timer;
  InputBacklog& backlog;
  Activity& activity;
  FrameWriter writer;
  WebSocketReader reader;
  Channel* open[CHANNEL_COUNT] = {};
  // Of the message that is being read; nullptr before its first byte.
  kj::Maybe<kj::byte> messageChannel;

  void openChannels(StreamAcceptor& acceptor);
  void feed(kj::ArrayPtr<const kj::byte> bytes);
  kj::Promise<void> pongWhileFull();
  void messageBegan() override { messageChannel = nullptr; }
  void messageBytes(kj::ArrayPtr<const kj::byte> bytes) override;
  void messageEnded() override {}
  void channelBytes(kj::byte channel, kj::ArrayPtr<const kj::byte> bytes);
};

}  // namespace belay::criapi::streaming
