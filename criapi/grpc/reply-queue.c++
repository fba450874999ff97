// See reply-queue.h.
#include "criapi/grpc/reply-queue.h"

#include <kj/debug.h>

namespace belay::criapi::grpc {

kj::ArrayPtr<const kj::byte> ReplyQueue::Message::rest() const {
  if (taken < PREFIX_BYTES) return kj::arrayPtr(prefix.begin() + taken, PREFIX_BYTES - taken);
  return body.slice(taken - PREFIX_BYTES, body.size());
}

bool ReplyQueue::tryPush(kj::Array<kj::byte> message) {
  size_t size = PREFIX_BYTES + message.size();
  if (!lease.tryGrow(size)) return false;
  auto prefix = framePrefix(static_cast<uint32_t>(message.size()));
  messages.push_back(Message{prefix, kj::mv(message)});
  bytes += size;
  return true;
}

void ReplyQueue::take(size_t count, kj::Vector<kj::byte>& out) {
  KJ_REQUIRE(count <= bytes);
  bytes -= count;
  while (count > 0) {
    auto& message = messages.front();
    auto rest = message.rest();
    auto part = rest.slice(0, kj::min(rest.size(), count));
    out.addAll(part);
    message.taken += part.size();
    count -= part.size();
    if (message.taken == message.size()) {
      // Memory is given back message by message, because that is how it is freed.
      lease.shrink(message.size());
      messages.pop_front();
    }
  }
}

void ReplyQueue::clear() {
  for (auto& message : messages)
    lease.shrink(message.size());
  messages.clear();
  bytes = 0;
}

}  // namespace belay::criapi::grpc
