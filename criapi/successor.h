// The two ends between a belayd that goes away and the one that took its place (successor.capnp).
#pragma once

#include <capnp/rpc-twoparty.h>
#include <kj/async-io.h>

#include "criapi/grpc/server.h"
#include "criapi/successor.capnp.h"

namespace belay::criapi {

// The old one's end: carries out its server's calls at the new one.
class SuccessorRelay final : public grpc::CallRelay {
 public:
  explicit SuccessorRelay(kj::Own<kj::AsyncCapabilityStream> socket);
  KJ_DISALLOW_COPY_AND_MOVE(SuccessorRelay);

  // The new one's version, once it serves. Throws DISCONNECTED if it ended before.
  kj::Promise<kj::String> version();

  // Resolves when the new one is gone.
  kj::Promise<void> whenGone() { return network.onDisconnect(); }

  kj::Promise<grpc::Reply> unary(kj::StringPtr path, kj::ArrayPtr<const kj::byte> request) override;
  kj::Promise<grpc::Status> stream(kj::StringPtr path, kj::ArrayPtr<const kj::byte> request,
                                   grpc::MessageWriter& writer) override;

 private:
  kj::Own<kj::AsyncCapabilityStream> socket;
  capnp::TwoPartyVatNetwork network;
  capnp::RpcSystem<capnp::rpc::twoparty::VatId> rpc;
  Successor::Client successor;
};

// The new one's end. Resolves when the old one is done; dropping the promise hangs up. The server
// outlives it.
kj::Promise<void> serveSuccessor(kj::Own<kj::AsyncCapabilityStream> socket, grpc::Server& server,
                                 kj::StringPtr version);

}  // namespace belay::criapi
