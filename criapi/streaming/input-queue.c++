// A client's bytes on their way to a descriptor.
#include "criapi/streaming/input-queue.h"

#include <kj/debug.h>
#include <string.h>

namespace belay::criapi::streaming {

InputQueue::~InputQueue() noexcept(false) {
  discard();
}

void InputQueue::add(kj::ArrayPtr<const kj::byte> bytes) {
  if (ended || discarding) return;
  if (direct != nullptr && pieces.empty()) {
    KJ_IF_MAYBE (count, direct->write(bytes)) {
      written += *count;
      bytes = bytes.slice(*count, bytes.size());
    } else {
      discard();
      return;
    }
  }
  keep(bytes);
}

void InputQueue::keep(kj::ArrayPtr<const kj::byte> bytes) {
  if (bytes.size() == 0) return;
  backlog.add(bytes.size());
  while (bytes.size() > 0) {
    if (pieces.empty() || pieces.back().end == pieces.back().bytes.size()) {
      pieces.push_back({kj::heapArray<kj::byte>(PIECE_BYTES)});
    }
    auto& piece = pieces.back();
    size_t count = kj::min(bytes.size(), piece.bytes.size() - piece.end);
    memcpy(piece.bytes.begin() + piece.end, bytes.begin(), count);
    piece.end += count;
    bytes = bytes.slice(count, bytes.size());
  }
  wake();
}

void InputQueue::end() {
  ended = true;
  wake();
}

void InputQueue::discard() {
  discarding = true;
  for (auto& piece : pieces)
    backlog.remove(piece.end - piece.begin);
  pieces.clear();
  wake();
}

void InputQueue::wake() {
  KJ_IF_MAYBE (fulfiller, wakeup) (*fulfiller)->fulfill();
  wakeup = nullptr;
}

kj::Promise<void> InputQueue::whenThereIsMore() {
  auto pair = kj::newPromiseAndFulfiller<void>();
  wakeup = kj::mv(pair.fulfiller);
  return kj::mv(pair.promise);
}

kj::Promise<void> InputQueue::writeTo(StreamFd& target) {
  direct = &target;
  KJ_DEFER(direct = nullptr);
  while (!discarding) {
    if (!writePieces(target)) {
      co_await target.whenWritable();
    } else if (ended) {
      co_return;
    } else {
      co_await whenThereIsMore();
    }
  }
}

// False when the target takes no more for now.
bool InputQueue::writePieces(StreamFd& target) {
  while (!pieces.empty()) {
    auto& piece = pieces.front();
    KJ_IF_MAYBE (count, target.write(piece.bytes.slice(piece.begin, piece.end))) {
      if (*count == 0) return false;
      written += *count;
      piece.begin += *count;
      backlog.remove(*count);
      if (piece.begin == piece.end) pieces.pop_front();
    } else {
      discard();
      return true;
    }
  }
  return true;
}

}  // namespace belay::criapi::streaming
