// See connection.h.
#include "criapi/grpc/connection.h"

#include <kj/debug.h>

namespace belay::criapi::grpc {

namespace {

constexpr size_t READ_BUFFER_BYTES = 64 * 1024;
constexpr size_t WRITE_BATCH_BYTES = 64 * 1024;

// A client that always has bytes ready, or room for them, would keep KJ's event loop from ever
// polling for anything else: after so many reads or writes in a row a loop lets it.
constexpr uint32_t TURNS_IN_A_ROW = 16;

// Frames that may wait for a client that does not read: control frames it provoked, and the heads
// and bodies of its calls' replies.
constexpr size_t QUEUED_FRAMES_PER_CALL = 4;
constexpr size_t QUEUED_CONTROL_FRAMES = 1000;

}  // namespace

Connection::Connection(ServerContext& server, kj::Own<kj::AsyncIoStream> stream)
    : server(server),
      stream(kj::mv(stream)),
      budget(server.options.maxBufferedBytesPerConnection, server.budget),
      resets(server.timer, server.options.resetBurst, server.options.resetsPerSecond),
      session(*this,
              {.maxConcurrentStreams = server.options.maxConcurrentCalls,
               .maxHeaderListBytes = static_cast<uint32_t>(server.options.maxHeaderListBytes)}) {}

Connection::~Connection() noexcept(false) {
  for (auto& call : calls)
    call.value->closed();
}

// -------------------------------------------------------------------------------------------------
// Bytes

kj::Promise<void> Connection::run() {
  auto serving = readLoop().exclusiveJoin(writeLoop());
  KJ_IF_MAYBE (interval, server.options.keepaliveInterval) {
    serving = serving.exclusiveJoin(keepalive(*interval));
  }
  return serving.then([this]() -> kj::Promise<void> {
    if (session.lastFault().size() > 0) {
      KJ_LOG(WARNING, "gRPC: closed a connection whose client broke the protocol",
             session.lastFault());
    } else if (isGoingAway) {
      return linger();
    }
    return kj::READY_NOW;
  });
}

// The client may be sending a call just now. Were the connection closed, it could fail to send it
// before it reads that it is to go elsewhere: so the client closes first.
kj::Promise<void> Connection::linger() {
  stream->shutdownWrite();
  return readToEnd().exclusiveJoin(server.timer.afterDelay(patience));
}

kj::Promise<void> Connection::readToEnd() {
  kj::byte ignored[4096];
  while (co_await stream->tryRead(ignored, 1, sizeof(ignored)) > 0) {
  }
}

kj::Promise<void> Connection::readLoop() {
  auto buffer = kj::heapArray<kj::byte>(READ_BUFFER_BYTES);
  size_t maxQueuedFrames =
      QUEUED_FRAMES_PER_CALL * server.options.maxConcurrentCalls + QUEUED_CONTROL_FRAMES;
  for (uint32_t turn = 1; !session.isOver(); ++turn) {
    size_t count = co_await stream->tryRead(buffer.begin(), 1, buffer.size());
    if (count == 0) co_return;
    receivedBytes += count;
    session.receive(buffer.slice(0, count));
    closedCalls.clear();
    KJ_REQUIRE(session.queuedFrames() <= maxQueuedFrames,
               "the client sends without reading what it is answered");
    if (turn % TURNS_IN_A_ROW == 0) co_await afterPoll();
  }
}

kj::Promise<void> Connection::writeLoop() {
  kj::Vector<kj::byte> out;
  for (uint32_t turn = 1;; ++turn) {
    session.fill(out, WRITE_BATCH_BYTES);
    closedCalls.clear();
    if (out.size() > 0) {
      co_await stream->write(out.begin(), out.size());
      out.clear();
      if (turn % TURNS_IN_A_ROW == 0) co_await afterPoll();
      continue;
    }
    if (session.isOver()) co_return;
    // Between bursts the connection keeps no buffer.
    out = kj::Vector<kj::byte>();
    auto paf = kj::newPromiseAndFulfiller<void>();
    writerWaits = kj::mv(paf.fulfiller);
    co_await paf.promise;
    // What else is ready to run may add replies to the same batch.
    co_await kj::evalLast([]() {});
  }
}

// Resolves only after the event loop has polled.
kj::Promise<void> Connection::afterPoll() {
  return server.timer.afterDelay(0 * kj::SECONDS);
}

void Connection::onOutput() {
  KJ_IF_MAYBE (fulfiller, writerWaits) {
    (*fulfiller)->fulfill();
    writerWaits = nullptr;
  }
}

kj::Promise<void> Connection::keepalive(kj::Duration interval) {
  for (;;) {
    auto before = receivedBytes;
    co_await server.timer.afterDelay(interval);
    if (receivedBytes != before) continue;
    session.ping();
    co_await server.timer.afterDelay(server.options.keepaliveTimeout);
    KJ_REQUIRE(receivedBytes != before, "the client does not answer PING");
  }
}

// -------------------------------------------------------------------------------------------------
// Graceful end: first announce it, since calls may be on their way to us, then, when the client has
// surely seen that, refuse further ones.

void Connection::drain(kj::Duration patience) {
  if (isDraining) return;
  isDraining = true;
  this->patience = patience;
  session.announceShutdown();
  session.ping();
  drainDelay = server.timer.afterDelay(patience)
                   .then([this]() { goAway(); })
                   .eagerlyEvaluate([](kj::Exception&& e) { KJ_LOG(ERROR, e); });
}

void Connection::onPong() {
  if (isDraining) goAway();
}

void Connection::goAway() {
  if (isGoingAway) return;
  isGoingAway = true;
  session.goAway();
}

// -------------------------------------------------------------------------------------------------
// Calls

void Connection::relayCalls() {
  for (auto& call : calls)
    call.value->relay();
}

void Connection::onStream(int32_t streamId) {
  calls.insert(streamId, kj::heap<ServerCall>(server, session, budget, streamId));
}

void Connection::onHeader(int32_t streamId, kj::StringPtr name, kj::ArrayPtr<const char> value) {
  KJ_IF_MAYBE (call, calls.find(streamId)) {
    (*call)->addHeader(name, value);
  }
}

void Connection::onHeadersEnd(int32_t streamId) {
  KJ_IF_MAYBE (call, calls.find(streamId)) {
    (*call)->headersEnd();
  }
}

void Connection::onData(int32_t streamId, kj::ArrayPtr<const kj::byte> bytes) {
  KJ_IF_MAYBE (call, calls.find(streamId)) {
    (*call)->addData(bytes);
  }
}

void Connection::onRequestEnd(int32_t streamId) {
  KJ_IF_MAYBE (call, calls.find(streamId)) {
    (*call)->requestEnd();
  }
}

void Connection::onStreamClosed(int32_t streamId, uint32_t errorCode) {
  KJ_IF_MAYBE (entry, calls.findEntry(streamId)) {
    entry->value->closed();
    closedCalls.add(calls.release(*entry).value);
  }
  // Starting calls only to abort them costs the client nothing and the server much.
  if (errorCode != static_cast<uint32_t>(ResetCode::NO_ERROR) && !resets.tryTake()) {
    KJ_LOG(WARNING, "gRPC: a client aborts too many calls, closing its connection");
    session.terminate(ResetCode::ENHANCE_YOUR_CALM);
  }
}

}  // namespace belay::criapi::grpc
