// An HTTP/2 client for the server's unit tests: sends what no well-behaved gRPC client would, and
// shows what came back frame by frame.
#pragma once

#include <kj/async-io.h>
#include <kj/map.h>
#include <kj/vector.h>

#include <map>
#include <string>
#include <vector>

struct nghttp2_session;

namespace belay::criapi::grpc {

// What arrived on one stream. Trailers are among the headers.
struct TestReply {
  std::map<std::string, std::string> headers;
  std::string body;
  bool isClosed = false;
  uint32_t errorCode = 0;

  // "grpc-status", -1 while there is none.
  int status() const;
  std::string message() const;
};

class TestClient {
 public:
  using Headers = std::vector<std::pair<std::string, std::string>>;

  enum class Pings { ANSWERED, IGNORED };
  explicit TestClient(kj::Own<kj::AsyncIoStream> stream, Pings pings = Pings::ANSWERED);
  ~TestClient();
  KJ_DISALLOW_COPY_AND_MOVE(TestClient);

  // The headers of a gRPC call; change and add what the test is about.
  static Headers headersOf(std::string path);

  // Sends a request; without `body` its stream stays open for send().
  int32_t call(const Headers& headers, kj::Maybe<std::string> body);
  // A well-formed unary call.
  int32_t call(std::string path, std::string message);

  // The message of a request whose stream is open, and its end.
  void send(int32_t stream, std::string message);

  void reset(int32_t stream);
  void ping();
  // Stops and starts reading from the connection.
  void pause() { reading = nullptr; }
  void resume();
  // How much the server may send on a stream before the client's window is used up. Before the
  // first call.
  void setWindow(uint32_t bytes);
  // Opens a stream's window, and the connection's.
  void consume(int32_t stream, size_t bytes);

  TestReply& reply(int32_t stream) { return replies[stream]; }
  size_t sentBytes = 0;
  uint32_t pongs = 0;
  uint32_t pings = 0;
  // The error codes of the GOAWAY frames that came, and the last stream each named.
  std::vector<std::pair<uint32_t, int32_t>> goAways;
  bool isClosed = false;

 private:
  struct Callbacks;
  kj::Own<kj::AsyncIoStream> stream;
  nghttp2_session* session = nullptr;
  std::map<int32_t, TestReply> replies;
  std::map<int32_t, std::string> bodies;
  kj::Maybe<kj::Promise<void>> reading;
  kj::Promise<void> writing = kj::READY_NOW;

  kj::Promise<void> readLoop();
  void flush();
};

}  // namespace belay::criapi::grpc
