// See session.h.
#include "criapi/grpc/session.h"

#include <kj/debug.h>
#include <nghttp2/nghttp2.h>

namespace belay::criapi::grpc {

namespace {

// What a client may send before it sees a window update: one call's share and the connection's.
// Requests are taken into memory as they come (with ByteBudget's caps), so windows only have to be
// large enough not to slow down a 16 MiB message.
constexpr uint32_t STREAM_WINDOW_BYTES = 1024 * 1024;
constexpr int32_t CONNECTION_WINDOW_BYTES = 8 * 1024 * 1024;

constexpr size_t FRAME_HEADER_BYTES = 9;

kj::Vector<nghttp2_nv> toNv(kj::ArrayPtr<const HeaderView> headers) {
  kj::Vector<nghttp2_nv> nvs(headers.size());
  for (auto& header : headers) {
    nvs.add(nghttp2_nv{
        .name = const_cast<uint8_t*>(header.name.asBytes().begin()),
        .value = const_cast<uint8_t*>(header.value.asBytes().begin()),
        .namelen = header.name.size(),
        .valuelen = header.value.size(),
        .flags = NGHTTP2_NV_FLAG_NONE,
    });
  }
  return nvs;
}

bool isRequestHead(const nghttp2_frame& frame) {
  return frame.hd.type == NGHTTP2_HEADERS && frame.headers.cat == NGHTTP2_HCAT_REQUEST;
}

bool endsStream(const nghttp2_frame& frame) {
  return (frame.hd.type == NGHTTP2_HEADERS || frame.hd.type == NGHTTP2_DATA) &&
         (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
}

}  // namespace

// nghttp2's callbacks. No exception may pass its C frames: guard() keeps it for rethrow().
struct Session::Callbacks {
  template <typename Func>
  static int guard(void* userData, Func&& func) {
    auto& self = *static_cast<Session*>(userData);
    KJ_IF_MAYBE (e, kj::runCatchingExceptions([&] { func(self); })) {
      self.failure = kj::mv(*e);
      return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    return 0;
  }

  static int onBeginHeaders(nghttp2_session*, const nghttp2_frame* frame, void* userData) {
    return guard(userData, [&](Session& self) {
      if (isRequestHead(*frame)) self.events.onStream(frame->hd.stream_id);
    });
  }

  static int onHeader(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name,
                      size_t nameLength, const uint8_t* value, size_t valueLength, uint8_t,
                      void* userData) {
    return guard(userData, [&](Session& self) {
      // gRPC has no request trailers.
      if (!isRequestHead(*frame)) return;
      // nghttp2 ends both with a NUL.
      self.events.onHeader(frame->hd.stream_id,
                           kj::StringPtr(reinterpret_cast<const char*>(name), nameLength),
                           kj::arrayPtr(reinterpret_cast<const char*>(value), valueLength));
    });
  }

  static int onFrameReceived(nghttp2_session*, const nghttp2_frame* frame, void* userData) {
    return guard(userData, [&](Session& self) {
      if (isRequestHead(*frame)) self.events.onHeadersEnd(frame->hd.stream_id);
      if (endsStream(*frame)) self.events.onRequestEnd(frame->hd.stream_id);
      if (frame->hd.type == NGHTTP2_PING && (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0) {
        self.events.onPong();
      }
    });
  }

  static int onData(nghttp2_session*, uint8_t, int32_t streamId, const uint8_t* data, size_t length,
                    void* userData) {
    return guard(userData,
                 [&](Session& self) { self.events.onData(streamId, kj::arrayPtr(data, length)); });
  }

  // A reply that ends before its request (refused for its size, say) makes the rest of the request
  // pointless: RFC 9113 section 8.1 asks for RST_STREAM(NO_ERROR) then.
  static int onFrameSent(nghttp2_session* session, const nghttp2_frame* frame, void* userData) {
    return guard(userData, [&](Session& self) {
      int32_t streamId = frame->hd.stream_id;
      if (endsStream(*frame) && nghttp2_session_get_stream_remote_close(session, streamId) == 0) {
        self.reset(streamId, ResetCode::NO_ERROR);
      }
    });
  }

  static int onStreamClosed(nghttp2_session*, int32_t streamId, uint32_t errorCode,
                            void* userData) {
    return guard(userData, [&](Session& self) { self.events.onStreamClosed(streamId, errorCode); });
  }

  static int onInvalidFrame(nghttp2_session*, const nghttp2_frame* frame, int error,
                            void* userData) {
    return guard(userData, [&](Session& self) {
      self.fault = kj::str(nghttp2_strerror(error), " in a frame of type ", frame->hd.type,
                           " on stream ", frame->hd.stream_id);
    });
  }

  static ssize_t readReply(nghttp2_session*, int32_t, uint8_t*, size_t length, uint32_t* flags,
                           nghttp2_data_source* dataSource, void* userData) {
    size_t count = 0;
    bool isDeferred = false;
    int result = guard(userData, [&](Session&) {
      auto& source = *static_cast<ReplySource*>(dataSource->ptr);
      count = kj::min(source.available(), length);
      isDeferred = count == 0 && !source.isEnded();
      *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
      if (source.isEnded() && count == source.available()) {
        *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
        source.sendTrailers();
      }
    });
    if (result != 0) return result;
    return isDeferred ? static_cast<ssize_t>(NGHTTP2_ERR_DEFERRED) : static_cast<ssize_t>(count);
  }

  static int sendReply(nghttp2_session*, nghttp2_frame*, const uint8_t* frameHeader, size_t length,
                       nghttp2_data_source* dataSource, void* userData) {
    return guard(userData, [&](Session& self) {
      auto& out = KJ_ASSERT_NONNULL(self.output);
      out.addAll(kj::arrayPtr(frameHeader, FRAME_HEADER_BYTES));
      static_cast<ReplySource*>(dataSource->ptr)->take(length, out);
    });
  }
};

Session::Session(SessionEvents& events, SessionSettings settings) : events(events) {
  nghttp2_session_callbacks* callbacks = nullptr;
  check(nghttp2_session_callbacks_new(&callbacks), "set up HTTP/2");
  KJ_DEFER(nghttp2_session_callbacks_del(callbacks));
  nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, &Callbacks::onBeginHeaders);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, &Callbacks::onHeader);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, &Callbacks::onFrameReceived);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, &Callbacks::onData);
  nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, &Callbacks::onFrameSent);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, &Callbacks::onStreamClosed);
  nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks,
                                                               &Callbacks::onInvalidFrame);
  nghttp2_session_callbacks_set_send_data_callback(callbacks, &Callbacks::sendReply);

  nghttp2_option* options = nullptr;
  check(nghttp2_option_new(&options), "set up HTTP/2");
  KJ_DEFER(nghttp2_option_del(options));
  // Closed streams would be kept for priorities, which gRPC does not use.
  nghttp2_option_set_no_closed_streams(options, 1);

  check(nghttp2_session_server_new2(&session, callbacks, this, options), "set up HTTP/2");

  nghttp2_settings_entry entries[] = {
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, settings.maxConcurrentStreams},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW_BYTES},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, settings.maxHeaderListBytes},
  };
  check(nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, entries, kj::size(entries)),
        "send SETTINGS");
  check(
      nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW_BYTES),
      "widen the connection's window");
}

Session::~Session() {
  nghttp2_session_del(session);
}

void Session::check(int64_t result, kj::StringPtr what) {
  rethrow();
  KJ_REQUIRE(result >= 0, "HTTP/2 failed", what, nghttp2_strerror(static_cast<int>(result)));
}

void Session::rethrow() {
  KJ_IF_MAYBE (e, failure) {
    auto exception = kj::mv(*e);
    failure = nullptr;
    kj::throwFatalException(kj::mv(exception));
  }
}

void Session::receive(kj::ArrayPtr<const kj::byte> bytes) {
  check(nghttp2_session_mem_recv(session, bytes.begin(), bytes.size()), "take the client's bytes");
  if (nghttp2_session_want_write(session) != 0) events.onOutput();
}

void Session::fill(kj::Vector<kj::byte>& out, size_t limit) {
  output = out;
  KJ_DEFER(output = nullptr);
  while (out.size() < limit) {
    const uint8_t* data = nullptr;
    ssize_t length = nghttp2_session_mem_send(session, &data);
    check(length, "make frames");
    if (length == 0) break;
    out.addAll(kj::arrayPtr(data, static_cast<size_t>(length)));
  }
}

bool Session::isOver() const {
  return nghttp2_session_want_read(session) == 0 && nghttp2_session_want_write(session) == 0;
}

size_t Session::queuedFrames() const {
  return nghttp2_session_get_outbound_queue_size(session);
}

void Session::submitReply(int32_t streamId, kj::ArrayPtr<const HeaderView> headers,
                          ReplySource& source) {
  auto nvs = toNv(headers);
  nghttp2_data_provider provider{.source = {.ptr = &source},
                                 .read_callback = &Callbacks::readReply};
  check(nghttp2_submit_response(session, streamId, nvs.begin(), nvs.size(), &provider),
        "start a reply");
  events.onOutput();
}

void Session::submitHeadersOnly(int32_t streamId, kj::ArrayPtr<const HeaderView> headers) {
  auto nvs = toNv(headers);
  check(nghttp2_submit_response(session, streamId, nvs.begin(), nvs.size(), nullptr),
        "send a reply without body");
  events.onOutput();
}

void Session::submitTrailers(int32_t streamId, kj::ArrayPtr<const HeaderView> headers) {
  auto nvs = toNv(headers);
  check(nghttp2_submit_trailer(session, streamId, nvs.begin(), nvs.size()), "send trailers");
  events.onOutput();
}

void Session::resume(int32_t streamId) {
  // An error only says that the stream's reply is not waiting for this.
  (void)nghttp2_session_resume_data(session, streamId);
  events.onOutput();
}

bool Session::isBlocked(int32_t streamId) const {
  return nghttp2_session_get_stream_remote_window_size(session, streamId) <= 0 ||
         nghttp2_session_get_remote_window_size(session) <= 0;
}

void Session::reset(int32_t streamId, ResetCode code) {
  check(
      nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, streamId, static_cast<uint32_t>(code)),
      "reset a stream");
  events.onOutput();
}

void Session::ping() {
  check(nghttp2_submit_ping(session, NGHTTP2_FLAG_NONE, nullptr), "send PING");
  events.onOutput();
}

void Session::announceShutdown() {
  check(nghttp2_submit_shutdown_notice(session), "announce GOAWAY");
  events.onOutput();
}

void Session::goAway() {
  check(nghttp2_submit_goaway(session, NGHTTP2_FLAG_NONE,
                              nghttp2_session_get_last_proc_stream_id(session), NGHTTP2_NO_ERROR,
                              nullptr, 0),
        "send GOAWAY");
  events.onOutput();
}

void Session::terminate(ResetCode code) {
  check(nghttp2_session_terminate_session(session, static_cast<uint32_t>(code)), "send GOAWAY");
  events.onOutput();
}

}  // namespace belay::criapi::grpc
