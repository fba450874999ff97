// How much of a client's input has been read but not yet been taken.
#pragma once

#include <kj/async.h>
#include <kj/common.h>

namespace belay::criapi::streaming {

// Neither SPDY as it is spoken nor WebSocket has flow control of its own: a process that does not
// read its input can be told to a client only by not reading from its connection. That stops all of
// its streams, so some input is kept here first. The output of the other direction goes on in any
// case.
class InputBacklog {
 public:
  // All streams of a connection together. One reading of the connection (64 KiB) may exceed it.
  static constexpr size_t LIMIT_BYTES = 1 << 20;

  void add(size_t count) { bytes += count; }

  void remove(size_t count) {
    bytes -= count;
    if (bytes < LIMIT_BYTES) {
      KJ_IF_MAYBE (fulfiller, waiter) (*fulfiller)->fulfill();
      waiter = nullptr;
    }
  }

  bool isFull() const { return bytes >= LIMIT_BYTES; }

  // For one waiter: the connection's reader.
  kj::Promise<void> whenBelowLimit() {
    if (!isFull()) return kj::READY_NOW;
    auto pair = kj::newPromiseAndFulfiller<void>();
    waiter = kj::mv(pair.fulfiller);
    return kj::mv(pair.promise);
  }

 private:
  size_t bytes = 0;
  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> waiter;
};

}  // namespace belay::criapi::streaming
