// Cuts a client's bytes into WebSocket messages.
#pragma once

#include <kj/array.h>
#include <kj/vector.h>
#include <wslay/wslay.h>

namespace belay::criapi::streaming {

class WebSocketHandler {
 public:
  virtual void messageBegan() = 0;
  // A piece of the message, unmasked, as it arrives.
  virtual void messageBytes(kj::ArrayPtr<const kj::byte> bytes) = 0;
  virtual void messageEnded() = 0;

 protected:
  ~WebSocketHandler() = default;
};

// Takes bytes in whatever pieces they come (RFC 6455, by wslay). Messages are passed on without
// being kept, however long and fragmented; text is taken like binary.
class WebSocketReader {
 public:
  WebSocketReader();
  ~WebSocketReader() noexcept(false);
  KJ_DISALLOW_COPY_AND_MOVE(WebSocketReader);

  // Returns what has to be sent because of it: pongs, the answer to a close, or the close that a
  // broken protocol ends in.
  kj::Array<kj::byte> feed(kj::ArrayPtr<const kj::byte> bytes, WebSocketHandler& handler);

  // The client has closed, or broke the protocol: nothing more is understood.
  bool isClosed() const;

 private:
  wslay_event_context_ptr wslay;
  kj::ArrayPtr<const kj::byte> input;
  WebSocketHandler* handler = nullptr;
  // Of the frame being read. Control frames come between fragments.
  bool inData = false;
  bool messageOpen = false;
  bool finalFrame = false;
  // wslay unmasks 4 KiB at a time; writing to a pipe is cheaper in larger pieces.
  kj::Vector<kj::byte> unmasked;
  kj::Vector<kj::byte> reply;

  void frameBegan(const wslay_event_on_frame_recv_start_arg& frame);
  void frameEnded();
  void passOn();
};

// The header of a frame that is a whole binary message. Returns its length.
constexpr size_t MAX_WEBSOCKET_HEADER_BYTES = 10;
size_t writeWebSocketHeader(kj::byte* to, size_t payloadBytes);

// Whole frames.
kj::ArrayPtr<const kj::byte> webSocketNormalClose();
kj::ArrayPtr<const kj::byte> webSocketEmptyPong();

}  // namespace belay::criapi::streaming
