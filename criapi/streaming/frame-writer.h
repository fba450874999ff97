// Writes frames of many streams to one connection, one frame after the other.
#pragma once

#include <kj/async-io.h>
#include <kj/vector.h>

#include <deque>

#include "criapi/streaming/stream.h"

namespace belay::criapi::streaming {

// Puts the framing around a piece of a stream.
class Framer {
 public:
  static constexpr size_t MAX_HEADER_BYTES = 16;

  // Writes the header of a frame with `payloadBytes` to `space` (MAX_HEADER_BYTES); how long it is.
  virtual size_t writeHeader(kj::ArrayPtr<kj::byte> space, size_t payloadBytes) = 0;

 protected:
  ~Framer() = default;
};

// The streams take turns, first come, first served. Whoever has the turn reads from its source into
// the only buffer and has it written with its header in one call: the memory does not grow with
// the number of streams, and a slow client stops the sources and nothing else.
//
// Small frames of the protocol itself (replies, pongs) are queued and go out before the next piece.
class FrameWriter : private kj::TaskSet::ErrorHandler {
 public:
  // `output` outlives this. A piece is at most `pieceBytes`.
  FrameWriter(kj::AsyncOutputStream& output, size_t pieceBytes);
  ~FrameWriter() noexcept(false);
  KJ_DISALLOW_COPY_AND_MOVE(FrameWriter);

  // See Stream::send. Throws when the connection is broken.
  kj::Promise<kj::Maybe<size_t>> sendPiece(ByteSource& source, Framer& framer);

  // Queues a whole frame.
  void sendControl(kj::ArrayPtr<const kj::byte> frame);

  // A client that provokes replies without reading them is not read from either.
  kj::Promise<void> whenControlIsSmall();

  // Everything that was queued before has been written.
  kj::Promise<void> flush();

 private:
  class Turn;

  static constexpr size_t CONTROL_LIMIT_BYTES = 64 * 1024;

  kj::AsyncOutputStream& output;
  kj::Array<kj::byte> piece;
  kj::byte header[Framer::MAX_HEADER_BYTES];
  kj::Vector<kj::byte> control;
  kj::Vector<kj::byte> controlBeingWritten;
  kj::ArrayPtr<const kj::byte> parts[3];
  bool taken = false;
  std::deque<kj::Own<kj::PromiseFulfiller<kj::Own<Turn>>>> waiters;
  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> controlWaiter;
  kj::Maybe<kj::Exception> broken;

  kj::Promise<kj::Own<Turn>> takeTurn();
  kj::Promise<void> write(kj::Own<Turn> turn, size_t headerBytes, size_t pieceBytes);
  void passTurn();
  void fail(kj::Exception&& exception);
  void taskFailed(kj::Exception&& exception) override { fail(kj::mv(exception)); }

  // The write that is under way. Last: it holds a turn.
  kj::TaskSet writing;
};

}  // namespace belay::criapi::streaming
