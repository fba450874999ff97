// Cuts a client's bytes into WebSocket messages.
#include "criapi/streaming/websocket-reader.h"

#include <kj/debug.h>
#include <string.h>

#include "criapi/streaming/big-endian.h"

namespace belay::criapi::streaming {
namespace {

constexpr kj::byte NORMAL_CLOSE[] = {0x88, 2, 1000 >> 8, 1000 & 0xff};
constexpr kj::byte EMPTY_PONG[] = {0x8a, 0};

}  // namespace

WebSocketReader::WebSocketReader() {
  struct wslay_event_callbacks callbacks = {};
  callbacks.recv_callback = [](wslay_event_context_ptr context, uint8_t* to, size_t size, int,
                               void* user) -> ssize_t {
    auto& input = static_cast<WebSocketReader*>(user)->input;
    size_t count = kj::min(size, input.size());
    if (count == 0) {
      wslay_event_set_error(context, WSLAY_ERR_WOULDBLOCK);
      return -1;
    }
    memcpy(to, input.begin(), count);
    input = input.slice(count, input.size());
    return count;
  };
  callbacks.send_callback = [](wslay_event_context_ptr, const uint8_t* data, size_t size, int,
                               void* user) -> ssize_t {
    static_cast<WebSocketReader*>(user)->reply.addAll(kj::arrayPtr(data, size));
    return size;
  };
  callbacks.on_frame_recv_start_callback =
      [](wslay_event_context_ptr, const wslay_event_on_frame_recv_start_arg* frame, void* user) {
        static_cast<WebSocketReader*>(user)->frameBegan(*frame);
      };
  callbacks.on_frame_recv_chunk_callback =
      [](wslay_event_context_ptr, const wslay_event_on_frame_recv_chunk_arg* chunk, void* user) {
        auto& reader = *static_cast<WebSocketReader*>(user);
        if (reader.inData) reader.unmasked.addAll(kj::arrayPtr(chunk->data, chunk->data_length));
      };
  callbacks.on_frame_recv_end_callback = [](wslay_event_context_ptr, void* user) {
    static_cast<WebSocketReader*>(user)->frameEnded();
  };
  KJ_REQUIRE(wslay_event_context_server_init(&wslay, &callbacks, this) == 0, "out of memory");
  wslay_event_config_set_no_buffering(wslay, 1);
  wslay_event_config_set_max_recv_msg_length(wslay, UINT64_MAX >> 1);
}

WebSocketReader::~WebSocketReader() noexcept(false) {
  wslay_event_context_free(wslay);
}

kj::Array<kj::byte> WebSocketReader::feed(kj::ArrayPtr<const kj::byte> bytes,
                                          WebSocketHandler& to) {
  input = bytes;
  handler = &to;
  reply = kj::Vector<kj::byte>();
  // Any other failure is the client's: wslay has queued the close for it and reads no more.
  KJ_REQUIRE(wslay_event_recv(wslay) != WSLAY_ERR_NOMEM, "out of memory");
  passOn();
  KJ_REQUIRE(wslay_event_send(wslay) == 0, "out of memory");
  return reply.releaseAsArray();
}

bool WebSocketReader::isClosed() const {
  return !wslay_event_get_read_enabled(wslay);
}

void WebSocketReader::frameBegan(const wslay_event_on_frame_recv_start_arg& frame) {
  inData = !wslay_is_ctrl_frame(frame.opcode);
  if (!inData) return;
  finalFrame = frame.fin;
  if (!messageOpen) handler->messageBegan();
  messageOpen = true;
}

void WebSocketReader::frameEnded() {
  if (!inData || !finalFrame) return;
  passOn();
  handler->messageEnded();
  messageOpen = false;
}

void WebSocketReader::passOn() {
  if (unmasked.size() == 0) return;
  handler->messageBytes(unmasked);
  unmasked.clear();
}

size_t writeWebSocketHeader(kj::byte* to, size_t payloadBytes) {
  to[0] = 0x82;
  if (payloadBytes < 126) {
    to[1] = payloadBytes;
    return 2;
  }
  if (payloadBytes < 65536) {
    to[1] = 126;
    to[2] = payloadBytes >> 8;
    to[3] = payloadBytes;
    return 4;
  }
  to[1] = 127;
  writeBigEndian32(to + 2, uint64_t{payloadBytes} >> 32);
  writeBigEndian32(to + 6, payloadBytes);
  return 10;
}

kj::ArrayPtr<const kj::byte> webSocketNormalClose() {
  return NORMAL_CLOSE;
}

kj::ArrayPtr<const kj::byte> webSocketEmptyPong() {
  return EMPTY_PONG;
}

}  // namespace belay::criapi::streaming
