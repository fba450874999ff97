// The reply messages of one call that wait to be sent, framed as gRPC wants them.
#pragma once

#include <kj/array.h>
#include <kj/vector.h>

#include <deque>

#include "criapi/grpc/byte-budget.h"
#include "criapi/grpc/message.h"

namespace belay::criapi::grpc {

class ReplyQueue {
 public:
  // `budget` outlives this and holds what is queued.
  explicit ReplyQueue(ByteBudget& budget) : lease(budget) {}

  // Appends a message; false, and nothing done, if the budget does not allow it.
  bool tryPush(kj::Array<kj::byte> message);

  // Bytes waiting, prefixes included.
  size_t size() const { return bytes; }

  // Moves the next `count` bytes, at most size(), to the end of `out`.
  void take(size_t count, kj::Vector<kj::byte>& out);

  // Whether a message was taken in part.
  bool isMidMessage() const { return !messages.empty() && messages.front().taken > 0; }

  void clear();

 private:
  struct Message {
    kj::FixedArray<kj::byte, PREFIX_BYTES> prefix;
    kj::Array<kj::byte> body;
    size_t taken = 0;

    size_t size() const { return PREFIX_BYTES + body.size(); }
    // What is left of the prefix or, after that, of the body.
    kj::ArrayPtr<const kj::byte> rest() const;
  };

  ByteLease lease;
  std::deque<Message> messages;
  size_t bytes = 0;
};

}  // namespace belay::criapi::grpc
