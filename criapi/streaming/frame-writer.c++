// Writes frames of many streams to one connection, one frame after the other.
#include "criapi/streaming/frame-writer.h"

#include <kj/debug.h>

namespace belay::criapi::streaming {

// The right to write. Given back when it is dropped, by whom and when ever.
class FrameWriter::Turn {
 public:
  explicit Turn(FrameWriter& writer) : writer(writer) {}
  ~Turn() noexcept(false) { writer.passTurn(); }
  KJ_DISALLOW_COPY_AND_MOVE(Turn);

 private:
  FrameWriter& writer;
};

FrameWriter::FrameWriter(kj::AsyncOutputStream& output, size_t pieceBytes)
    : output(output), piece(kj::heapArray<kj::byte>(pieceBytes)), writing(*this) {}

FrameWriter::~FrameWriter() noexcept(false) {
  // Turns in promises below must not be passed on.
  fail(KJ_EXCEPTION(DISCONNECTED, "the connection was closed"));
}

kj::Promise<kj::Own<FrameWriter::Turn>> FrameWriter::takeTurn() {
  KJ_IF_MAYBE (exception, broken) return kj::cp(*exception);
  if (!taken) {
    taken = true;
    return kj::heap<Turn>(*this);
  }
  auto pair = kj::newPromiseAndFulfiller<kj::Own<Turn>>();
  waiters.push_back(kj::mv(pair.fulfiller));
  return kj::mv(pair.promise);
}

void FrameWriter::passTurn() {
  taken = false;
  if (broken != nullptr) return;
  while (!taken && !waiters.empty()) {
    auto next = kj::mv(waiters.front());
    waiters.pop_front();
    if (!next->isWaiting()) continue;
    taken = true;
    next->fulfill(kj::heap<Turn>(*this));
  }
  if (!taken && control.size() > 0) {
    taken = true;
    // Nobody waits for it: failures are told by `broken`.
    auto unused = write(kj::heap<Turn>(*this), 0, 0);
  }
}

void FrameWriter::fail(kj::Exception&& exception) {
  if (broken != nullptr) return;
  for (auto& waiter : waiters)
    waiter->reject(kj::cp(exception));
  waiters.clear();
  KJ_IF_MAYBE (waiter, controlWaiter) (*waiter)->reject(kj::cp(exception));
  controlWaiter = nullptr;
  broken = kj::mv(exception);
}

// The write belongs to the writer: whoever asked for it may be cancelled, and half a frame would
// garble everything after it.
kj::Promise<void> FrameWriter::write(kj::Own<Turn> turn, size_t headerBytes, size_t pieceBytes) {
  controlBeingWritten = kj::mv(control);
  size_t count = 0;
  if (controlBeingWritten.size() > 0) parts[count++] = controlBeingWritten.asPtr();
  if (headerBytes > 0) parts[count++] = kj::arrayPtr(header, headerBytes);
  if (pieceBytes > 0) parts[count++] = piece.slice(0, pieceBytes);
  KJ_IF_MAYBE (waiter, controlWaiter) (*waiter)->fulfill();
  controlWaiter = nullptr;
  if (count == 0) return kj::READY_NOW;

  auto pair = kj::newPromiseAndFulfiller<void>();
  auto& done = *pair.fulfiller;
  writing.add(output.write(kj::arrayPtr(parts, count))
                  .then([&done]() { done.fulfill(); },
                        [this, &done](kj::Exception&& exception) {
                          done.reject(kj::cp(exception));
                          fail(kj::mv(exception));
                        })
                  .attach(kj::mv(pair.fulfiller), kj::mv(turn)));
  return kj::mv(pair.promise);
}

kj::Promise<kj::Maybe<size_t>> FrameWriter::sendPiece(ByteSource& source, Framer& framer) {
  auto turn = co_await takeTurn();
  auto result = source.read(piece);
  KJ_IF_MAYBE (bytes, result) {
    if (*bytes > 0) {
      size_t headerBytes =
          framer.writeHeader(kj::arrayPtr(header, Framer::MAX_HEADER_BYTES), *bytes);
      co_await write(kj::mv(turn), headerBytes, *bytes);
    }
  }
  co_return result;
}

void FrameWriter::sendControl(kj::ArrayPtr<const kj::byte> frame) {
  if (broken != nullptr) return;
  control.addAll(frame);
  if (!taken) passTurn();
}

kj::Promise<void> FrameWriter::whenControlIsSmall() {
  KJ_IF_MAYBE (exception, broken) return kj::cp(*exception);
  if (control.size() < CONTROL_LIMIT_BYTES) return kj::READY_NOW;
  auto pair = kj::newPromiseAndFulfiller<void>();
  controlWaiter = kj::mv(pair.fulfiller);
  return kj::mv(pair.promise);
}

kj::Promise<void> FrameWriter::flush() {
  auto turn = co_await takeTurn();
  co_await write(kj::mv(turn), 0, 0);
}

}  // namespace belay::criapi::streaming
