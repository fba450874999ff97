// One client's connection: moves bytes between its stream and its HTTP/2 session, and owns its
// calls.
#pragma once

#include <kj/async-io.h>
#include <kj/list.h>
#include <kj/map.h>
#include <kj/vector.h>

#include "criapi/grpc/byte-budget.h"
#include "criapi/grpc/server-call.h"
#include "criapi/grpc/session.h"
#include "criapi/grpc/token-bucket.h"

namespace belay::criapi::grpc {

class Connection final : private SessionEvents {
 public:
  // `server` outlives this.
  Connection(ServerContext& server, kj::Own<kj::AsyncIoStream> stream);
  ~Connection() noexcept(false);
  KJ_DISALLOW_COPY_AND_MOVE(Connection);

  // Serves until the connection ends; throws if it broke. Once, and this outlives the promise.
  [[nodiscard]] kj::Promise<void> run();

  // Tells the client to go elsewhere, and makes run() end after the calls in progress, once the
  // client has surely seen that, or `patience` is over.
  void drain(kj::Duration patience);

  // The server's relay was set: see HandledCall::relay().
  void relayCalls();

  // For the server's list of connections.
  kj::ListLink<Connection> link;

 private:
  ServerContext& server;
  kj::Own<kj::AsyncIoStream> stream;
  ByteBudget budget;
  TokenBucket resets;
  Session session;
  kj::HashMap<int32_t, kj::Own<ServerCall>> calls;
  // Calls whose stream closed, kept until no session callback runs: destroying one destroys its
  // handler's promise, which may do anything.
  kj::Vector<kj::Own<ServerCall>> closedCalls;

  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> writerWaits;
  uint64_t receivedBytes = 0;
  bool isDraining = false;
  bool isGoingAway = false;
  kj::Duration patience = 0 * kj::SECONDS;
  kj::Maybe<kj::Promise<void>> drainDelay;

  kj::Promise<void> readLoop();
  kj::Promise<void> writeLoop();
  kj::Promise<void> linger();
  kj::Promise<void> readToEnd();
  kj::Promise<void> afterPoll();
  kj::Promise<void> keepalive(kj::Duration interval);
  void goAway();

  void onStream(int32_t streamId) override;
  void onHeader(int32_t streamId, kj::StringPtr name, kj::ArrayPtr<const char> value) override;
  void onHeadersEnd(int32_t streamId) override;
  void onData(int32_t streamId, kj::ArrayPtr<const kj::byte> bytes) override;
  void onRequestEnd(int32_t streamId) override;
  void onStreamClosed(int32_t streamId, uint32_t errorCode) override;
  void onPong() override;
  void onOutput() override;
};

}  // namespace belay::criapi::grpc
