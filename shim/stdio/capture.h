// Captures a process's output for ExecSync: a pipe drained into a sealed memory file of bounded
// size, which goes to the caller as a descriptor. The bytes never pass through an RPC message.
#pragma once

#include <kj/async-unix.h>
#include <kj/io.h>

#include "shim/stdio/descriptors.h"

namespace belay::shim {

class Capture final {
 public:
  // `name` is what /proc shows of the memory file. Begins to drain at once.
  Capture(kj::UnixEventPort& port, kj::StringPtr name, uint64_t maxBytes);
  KJ_DISALLOW_COPY_AND_MOVE(Capture);

  // The process's end; to be taken once.
  kj::AutoCloseFd takeWriteEnd() { return kj::mv(pipe.writeEnd); }

  // Resolves when no writer is left. One waiter.
  kj::Promise<void> whenEnded() { return ended.addBranch(); }

  // Takes what is still in the pipe, stops, and gives the memory file, sealed against any change.
  kj::AutoCloseFd finish();

 private:
  enum class Moved { SOME, NOTHING_NOW, END };
  Moved move();
  kj::Promise<void> run();

  Pipe pipe;  // our end does not block, the process's does
  kj::AutoCloseFd memory;
  uint64_t maxBytes;
  uint64_t size = 0;
  kj::UnixEventPort::FdObserver observer;
  kj::ForkedPromise<void> ended;
};

}  // namespace belay::shim
