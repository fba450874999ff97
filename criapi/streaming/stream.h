// What SPDY and WebSocket have in common: a connection of many streams, each of two directions that
// end independently. Exec, attach and port-forward are written against this alone.
#pragma once

#include <kj/async.h>
#include <kj/common.h>
#include <kj/string.h>
#include <stdint.h>

namespace belay::criapi::streaming {

// Bytes that are there to be read, or not yet.
class ByteSource {
 public:
  // Up to `buffer` bytes; 0 at the end; nullptr when nothing has come yet.
  virtual kj::Maybe<size_t> read(kj::ArrayPtr<kj::byte> buffer) = 0;

 protected:
  ~ByteSource() = default;
};

// Gets what the client sends on one stream. Called from within the reading of the connection: none
// of these waits.
class Receiver {
 public:
  virtual void received(kj::ArrayPtr<const kj::byte> bytes) = 0;
  // The client sends nothing more (half close).
  virtual void ended() = 0;
  // The client has given the stream up; both directions are closed. Nothing follows.
  virtual void aborted() = 0;

 protected:
  ~Receiver() = default;
};

// One stream. Destroying it before both directions have ended tells the client so (a reset), where
// the framing can; a stream that was never accepted is refused.
class Stream {
 public:
  virtual ~Stream() noexcept(false) {}

  // Confirms the stream to the client. What it sends goes to `receiver`, which must live as long as
  // the stream.
  virtual void accept(Receiver& receiver) = 0;

  // Sends once as much as `source` has ready, up to the framing's piece. Waits for earlier pieces
  // of all streams to be written, and for this one. The result is the source's. Cancelling loses
  // and corrupts nothing: a piece that was read is written.
  virtual kj::Promise<kj::Maybe<size_t>> send(ByteSource& source) = 0;

  // Nothing more comes from us (half close). Bytes that were sent before arrive before.
  virtual void end() = 0;
};

// What the client says when it opens a stream. Empty where it said nothing.
struct StreamHeaders {
  kj::String type;  // error, stdin, stdout, stderr, resize or data
  kj::String port;
  kj::String requestId;
  // The id within the connection, which very old clients pair streams by.
  uint32_t id = 0;
};

class StreamAcceptor {
 public:
  // A client wants a stream: accept it, or drop it and so refuse.
  virtual void opened(kj::Own<Stream> stream, StreamHeaders headers) = 0;

 protected:
  ~StreamAcceptor() = default;
};

class Connection {
 public:
  virtual ~Connection() noexcept(false) {}

  // Reads until the client leaves. Throws when it breaks the protocol; it has then been told.
  virtual kj::Promise<void> run(StreamAcceptor& acceptor) = 0;

  // Says goodbye: after what was sent, nothing comes any more. run() still has to be left running
  // until the client closes too, lest the kernel discard what it has not read.
  virtual kj::Promise<void> finish() = 0;
};

}  // namespace belay::criapi::streaming
