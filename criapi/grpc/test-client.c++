// See test-client.h.
#include "criapi/grpc/test-client.h"

#include <kj/debug.h>
#include <nghttp2/nghttp2.h>

#include "criapi/grpc/message.h"

namespace belay::criapi::grpc {

int TestReply::status() const {
  auto found = headers.find("grpc-status");
  return found == headers.end() ? -1 : std::stoi(found->second);
}

std::string TestReply::message() const {
  auto found = headers.find("grpc-message");
  return found == headers.end() ? "" : found->second;
}

struct TestClient::Callbacks {
  static TestClient& self(void* userData) { return *static_cast<TestClient*>(userData); }

  static int onHeader(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name,
                      size_t nameLength, const uint8_t* value, size_t valueLength, uint8_t,
                      void* userData) {
    self(userData).reply(frame->hd.stream_id).headers[std::string(name, name + nameLength)] =
        std::string(value, value + valueLength);
    return 0;
  }

  static int onData(nghttp2_session*, uint8_t, int32_t stream, const uint8_t* data, size_t length,
                    void* userData) {
    self(userData).reply(stream).body.append(reinterpret_cast<const char*>(data), length);
    return 0;
  }

  static int onFrame(nghttp2_session*, const nghttp2_frame* frame, void* userData) {
    if (frame->hd.type == NGHTTP2_PING) {
      auto& count =
          (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0 ? self(userData).pongs : self(userData).pings;
      ++count;
    } else if (frame->hd.type == NGHTTP2_GOAWAY) {
      self(userData).goAways.emplace_back(frame->goaway.error_code, frame->goaway.last_stream_id);
    }
    return 0;
  }

  static int onClosed(nghttp2_session*, int32_t stream, uint32_t errorCode, void* userData) {
    auto& reply = self(userData).reply(stream);
    reply.isClosed = true;
    reply.errorCode = errorCode;
    return 0;
  }

  static ssize_t readBody(nghttp2_session*, int32_t stream, uint8_t* buffer, size_t length,
                          uint32_t* flags, nghttp2_data_source*, void* userData) {
    auto& body = self(userData).bodies[stream];
    size_t count = std::min(length, body.size());
    memcpy(buffer, body.data(), count);
    body.erase(0, count);
    if (body.empty()) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return static_cast<ssize_t>(count);
  }
};

static std::string framed(const std::string& message) {
  auto prefix = framePrefix(message.size());
  return std::string(reinterpret_cast<char*>(prefix.begin()), prefix.size()) + message;
}

TestClient::TestClient(kj::Own<kj::AsyncIoStream> stream, Pings pings) : stream(kj::mv(stream)) {
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_session_callbacks_new(&callbacks);
  KJ_DEFER(nghttp2_session_callbacks_del(callbacks));
  nghttp2_session_callbacks_set_on_header_callback(callbacks, &Callbacks::onHeader);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, &Callbacks::onData);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, &Callbacks::onFrame);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, &Callbacks::onClosed);
  nghttp2_option* options = nullptr;
  nghttp2_option_new(&options);
  KJ_DEFER(nghttp2_option_del(options));
  nghttp2_option_set_no_auto_window_update(options, 1);
  nghttp2_option_set_no_auto_ping_ack(options, pings == Pings::IGNORED ? 1 : 0);
  // The tests are about what the server does with too many calls.
  nghttp2_option_set_peer_max_concurrent_streams(options, 1u << 30);
  nghttp2_option_set_max_send_header_block_length(options, 1u << 20);
  nghttp2_session_client_new2(&session, callbacks, this, options);
  nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, nullptr, 0);
  flush();
  resume();
}

TestClient::~TestClient() {
  reading = nullptr;
  nghttp2_session_del(session);
}

TestClient::Headers TestClient::headersOf(std::string path) {
  return {{":method", "POST"},         {":scheme", "http"}, {":path", path},
          {":authority", "localhost"}, {"te", "trailers"},  {"content-type", "application/grpc"}};
}

int32_t TestClient::call(const Headers& headers, kj::Maybe<std::string> body) {
  std::vector<nghttp2_nv> nvs;
  for (auto& [name, value] : headers) {
    nvs.push_back({reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
                   reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(),
                   value.size(), NGHTTP2_NV_FLAG_NONE});
  }
  int32_t id;
  KJ_IF_MAYBE (b, body) {
    nghttp2_data_provider provider{{.ptr = nullptr}, &Callbacks::readBody};
    id = nghttp2_submit_request(session, nullptr, nvs.data(), nvs.size(), &provider, nullptr);
    bodies[id] = *b;
  } else {
    id = nghttp2_submit_headers(session, NGHTTP2_FLAG_NONE, -1, nullptr, nvs.data(), nvs.size(),
                                nullptr);
  }
  KJ_ASSERT(id > 0, nghttp2_strerror(id));
  flush();
  return id;
}

int32_t TestClient::call(std::string path, std::string message) {
  return call(headersOf(path), framed(message));
}

void TestClient::send(int32_t id, std::string message) {
  nghttp2_data_provider provider{{.ptr = nullptr}, &Callbacks::readBody};
  bodies[id] = framed(message);
  nghttp2_submit_data(session, NGHTTP2_FLAG_END_STREAM, id, &provider);
  flush();
}

void TestClient::reset(int32_t id) {
  nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
  flush();
}

void TestClient::ping() {
  nghttp2_submit_ping(session, NGHTTP2_FLAG_NONE, nullptr);
  flush();
}

void TestClient::setWindow(uint32_t bytes) {
  nghttp2_settings_entry entry{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, bytes};
  nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, &entry, 1);
  flush();
}

void TestClient::consume(int32_t id, size_t bytes) {
  nghttp2_session_consume(session, id, bytes);
  flush();
}

void TestClient::resume() {
  reading = readLoop().eagerlyEvaluate([this](kj::Exception&& e) { isClosed = true; });
}

kj::Promise<void> TestClient::readLoop() {
  kj::byte buffer[4096];
  for (;;) {
    size_t count = co_await stream->tryRead(buffer, 1, sizeof(buffer));
    if (count == 0) break;
    KJ_ASSERT(nghttp2_session_mem_recv(session, buffer, count) >= 0);
    flush();
  }
  isClosed = true;
}

// Writes what the session has to say, after what is being written.
void TestClient::flush() {
  kj::Vector<kj::byte> out;
  const uint8_t* data;
  while (ssize_t count = nghttp2_session_mem_send(session, &data)) {
    KJ_ASSERT(count > 0);
    out.addAll(kj::arrayPtr(data, count));
  }
  if (out.size() == 0) return;
  sentBytes += out.size();
  auto bytes = out.releaseAsArray();
  writing = writing
                .then([this, bytes = kj::mv(bytes)]() mutable {
                  auto promise = stream->write(bytes.begin(), bytes.size());
                  return promise.attach(kj::mv(bytes));
                })
                .eagerlyEvaluate([this](kj::Exception&& e) { isClosed = true; });
}

}  // namespace belay::criapi::grpc
