// A client's bytes on their way to a descriptor.
#pragma once

#include <kj/async.h>
#include <stdint.h>

#include <deque>

#include "criapi/streaming/input-backlog.h"
#include "criapi/streaming/stream-fd.h"

namespace belay::criapi::streaming {

// Writes what comes at once where it can; keeps the rest, counted in the connection's backlog, and
// also what comes before there is a descriptor. Bytes that nobody will read are dropped.
class InputQueue {
 public:
  explicit InputQueue(InputBacklog& backlog) : backlog(backlog) {}
  ~InputQueue() noexcept(false);
  KJ_DISALLOW_COPY_AND_MOVE(InputQueue);

  void add(kj::ArrayPtr<const kj::byte> bytes);

  // Nothing more comes.
  void end();

  // Writes to `target` until the input has ended and all of it is written, or nobody reads it. Call
  // it once. The queue's memory of the descriptor ends with the promise.
  kj::Promise<void> writeTo(StreamFd& target);

  // Grows as input is taken.
  uint64_t bytesWritten() const { return written; }

  // The input has nowhere to go: drops what is kept and what will come.
  void discard();

 private:
  // Kept bytes lie in pieces of this size: a client may send them one by one.
  static constexpr size_t PIECE_BYTES = 16 * 1024;

  struct Piece {
    kj::Array<kj::byte> bytes;
    size_t begin = 0;
    size_t end = 0;
  };

  InputBacklog& backlog;
  std::deque<Piece> pieces;
  uint64_t written = 0;
  bool ended = false;
  bool discarding = false;
  StreamFd* direct = nullptr;
  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> wakeup;

  void keep(kj::ArrayPtr<const kj::byte> bytes);
  void wake();
  kj::Promise<void> whenThereIsMore();
  bool writePieces(StreamFd& target);
};

}  // namespace belay::criapi::streaming
