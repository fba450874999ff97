// One client's view of a container's output, from now on: what an attach session reads.
#pragma once

#include <kj/async.h>
#include <kj/io.h>
#include <kj/refcount.h>

#include "shim/stdio/descriptors.h"

namespace belay::shim {

// A pipe that an OutputReader fills as output comes. Whoever reads it may be slow or hostile, and
// neither the container nor its log may ever wait for it: what the pipe cannot hold ends the tap.
class OutputTap final : public kj::Refcounted {
 public:
  // How much may wait for a slow client: what the pipe is made to hold where the machine allows it.
  static constexpr size_t BUFFER = 1 << 20;

  OutputTap();
  // Goes on with the pipe of another one.
  explicit OutputTap(kj::AutoCloseFd writeEnd);
  KJ_DISALLOW_COPY_AND_MOVE(OutputTap);

  // The client's end; to be taken once. It does not block.
  kj::AutoCloseFd takeReadEnd() { return kj::mv(readEnd); }

  // Passes bytes on, all of them or none ever again.
  void pass(kj::ArrayPtr<const kj::byte> bytes);

  // No more comes: the client reads what is there, then meets the end.
  void close() { writeEnd = nullptr; }
  bool isOpen() const { return writeEnd.get() >= 0; }
  // Borrowed; negative once it is closed.
  int getFd() const { return writeEnd; }

  // Resolves when output had to be dropped; the tap is closed then. One waiter.
  kj::Promise<void> whenOverrun() { return kj::mv(overrun); }

  // What the pipe holds.
  size_t capacity() const { return size; }

 private:
  explicit OutputTap(Pipe pipe);

  kj::AutoCloseFd readEnd, writeEnd;
  size_t size;
  kj::Own<kj::PromiseFulfiller<void>> overrunFulfiller;
  kj::Promise<void> overrun = nullptr;
};

}  // namespace belay::shim
