// One HTTP/2 connection's protocol state, server side: nghttp2 behind an interface without C
// callbacks. Does no I/O: bytes go in by receive() and come out by fill().
#pragma once

#include <kj/array.h>
#include <kj/exception.h>
#include <kj/string.h>
#include <kj/vector.h>

#include <cstdint>

struct nghttp2_session;

namespace belay::criapi::grpc {

// A header to send; the session copies it.
struct HeaderView {
  kj::StringPtr name;
  kj::StringPtr value;
};

// HTTP/2 error codes used here (RFC 9113 section 7).
enum class ResetCode : uint32_t { NO_ERROR = 0, CANCEL = 8, ENHANCE_YOUR_CALM = 11 };

// Where a stream's reply comes from.
class ReplySource {
 public:
  // Bytes that can be taken now.
  virtual size_t available() const = 0;
  // Nothing will be added to what is available.
  virtual bool isEnded() const = 0;
  // Appends the next `count` bytes to `out`.
  virtual void take(size_t count, kj::Vector<kj::byte>& out) = 0;
  // All was taken: send the trailers (Session::submitTrailers).
  virtual void sendTrailers() = 0;
};

// What a session tells its owner from within receive() and fill(). The session must not be
// destroyed in these.
class SessionEvents {
 public:
  virtual void onStream(int32_t streamId) = 0;
  virtual void onHeader(int32_t streamId, kj::StringPtr name, kj::ArrayPtr<const char> value) = 0;
  virtual void onHeadersEnd(int32_t streamId) = 0;
  virtual void onData(int32_t streamId, kj::ArrayPtr<const kj::byte> bytes) = 0;
  virtual void onRequestEnd(int32_t streamId) = 0;
  // The stream is over. `errorCode` is HTTP/2's, 0 for a regular end.
  virtual void onStreamClosed(int32_t streamId, uint32_t errorCode) = 0;
  // The client answered a ping().
  virtual void onPong() = 0;
  // There is something to fill(). Also called from outside of receive() and fill().
  virtual void onOutput() = 0;
};

struct SessionSettings {
  uint32_t maxConcurrentStreams;
  uint32_t maxHeaderListBytes;
};

class Session {
 public:
  // `events` outlives this, and all but onOutput() are called only by receive() and fill().
  Session(SessionEvents& events, SessionSettings settings);
  ~Session();
  KJ_DISALLOW_COPY_AND_MOVE(Session);

  // Takes bytes from the client. Throws if the connection is beyond repair; what breaks the
  // protocol in a regular way is answered with GOAWAY instead.
  void receive(kj::ArrayPtr<const kj::byte> bytes);

  // Appends output until there is none or `out` holds at least `limit` bytes.
  void fill(kj::Vector<kj::byte>& out, size_t limit);

  // Neither reads nor writes any more: the connection has ended.
  bool isOver() const;

  // The client's last breach of the protocol; empty without one. If it is why the session is over,
  // nothing came after it.
  kj::StringPtr lastFault() const { return fault; }

  // Frames that wait to be sent.
  size_t queuedFrames() const;

  // Starts a reply whose body comes from `source`, which lives as long as the stream.
  void submitReply(int32_t streamId, kj::ArrayPtr<const HeaderView> headers, ReplySource& source);
  // A reply that consists of headers alone.
  void submitHeadersOnly(int32_t streamId, kj::ArrayPtr<const HeaderView> headers);
  void submitTrailers(int32_t streamId, kj::ArrayPtr<const HeaderView> headers);
  // The source has more, or ended.
  void resume(int32_t streamId);
  // Whether the client's flow control allows no byte on this stream now.
  bool isBlocked(int32_t streamId) const;
  void reset(int32_t streamId, ResetCode code);

  void ping();
  // Tells the client to use another connection for further calls, but still accepts calls.
  void announceShutdown();
  // Accepts no further calls; over once those in progress ended.
  void goAway();
  // Ends the connection now, with a GOAWAY that tells why.
  void terminate(ResetCode code);

 private:
  struct Callbacks;
  SessionEvents& events;
  nghttp2_session* session = nullptr;
  // Set while fill() runs.
  kj::Maybe<kj::Vector<kj::byte>&> output;
  // An exception from `events`, on its way through nghttp2's C frames.
  kj::Maybe<kj::Exception> failure;
  kj::String fault;

  void check(int64_t result, kj::StringPtr what);
  void rethrow();
};

}  // namespace belay::criapi::grpc
