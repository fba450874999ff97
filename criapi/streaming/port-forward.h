// Connections to a pod's ports, many over one client's connection.
#pragma once

#include <kj/async.h>

#include <map>
#include <string>

#include "criapi/streaming/session-context.h"
#include "criapi/streaming/shim-link.h"
#include "criapi/streaming/stream.h"

namespace belay::criapi::streaming {

// For each connection the client opens two streams with the same request id: "error", on which it
// gets a text if there is none to be had, and "data". The token was for the pod; the ports are
// those that the streams name.
class PortForward final : public StreamAcceptor, private kj::TaskSet::ErrorHandler {
 public:
  // `context` outlives the session, and so does the connection that it accepts streams of.
  PortForward(const SessionContext& context, kj::AutoCloseFd shim);
  // Every connection is refused with `refusal`.
  PortForward(const SessionContext& context, kj::StringPtr refusal);
  ~PortForward() noexcept(false);

  // Never resolves by itself: the client ends it.
  kj::Promise<void> run();

  void opened(kj::Own<Stream> stream, StreamHeaders headers) override;

 private:
  class Pair;
  struct Dialed {
    kj::AutoCloseFd socket;
    // Why there is none.
    kj::String failure;
  };

  const SessionContext& context;
  kj::Maybe<ShimLink> shim;
  // Why no new connection can be had.
  kj::String refusal;
  uint32_t lastDialId = 0;
  std::map<uint32_t, kj::Own<kj::PromiseFulfiller<Dialed>>> dials;
  std::map<std::string, kj::Own<Pair>> pairs;
  // Last: its tasks use what is above.
  kj::TaskSet tasks;

  kj::Promise<void> serve(const std::string& key, Pair& pair);
  kj::Promise<void> forward(Pair& pair, kj::AutoCloseFd socket);
  kj::Promise<Dialed> dial(uint16_t port);
  void answered(shim::Packet& packet);
  void refuseAll(kj::String reason);
  void taskFailed(kj::Exception&& exception) override;
};

}  // namespace belay::criapi::streaming
