// See successor.h.
#include "criapi/successor.h"

#include <kj/debug.h>

namespace belay::criapi {

namespace {

grpc::Status statusOf(uint32_t code, kj::StringPtr message) {
  return {static_cast<grpc::Code>(code), kj::str(message)};
}

// Gives a stream's messages to the client of the old one.
class RepliesServer final : public Replies::Server {
 public:
  explicit RepliesServer(grpc::MessageWriter& writer) : writer(writer) {}
  // The call is over.
  void forget() { writer = nullptr; }

  kj::Promise<void> write(WriteContext context) override {
    KJ_IF_MAYBE (target, writer) {
      return target->write(kj::heapArray(context.getParams().getMessage()));
    }
    return kj::READY_NOW;
  }

 private:
  kj::Maybe<grpc::MessageWriter&> writer;
};

// Sends them there.
class RepliesWriter final : public grpc::MessageWriter {
 public:
  explicit RepliesWriter(Replies::Client replies) : replies(kj::mv(replies)) {}

  kj::Promise<void> write(kj::Array<kj::byte> message) override {
    auto request = replies.writeRequest();
    request.setMessage(message);
    return request.send();
  }

 private:
  Replies::Client replies;
};

class SuccessorServer final : public Successor::Server {
 public:
  SuccessorServer(grpc::Server& server, kj::StringPtr version) : server(server), text(version) {}

  kj::Promise<void> version(VersionContext context) override {
    context.getResults().setVersion(text);
    return kj::READY_NOW;
  }

  kj::Promise<void> unary(UnaryContext context) override {
    auto params = context.getParams();
    auto path = kj::str(params.getPath());
    auto request = kj::heapArray<kj::byte>(params.getRequest());
    auto reply = co_await server.call(path, kj::mv(request));
    auto results = context.getResults();
    results.setCode(static_cast<uint32_t>(reply.status.code));
    results.setMessage(reply.status.message);
    if (reply.status.isOk()) results.setReply(reply.message);
  }

  kj::Promise<void> stream(StreamContext context) override {
    auto params = context.getParams();
    auto path = kj::str(params.getPath());
    auto request = kj::heapArray<kj::byte>(params.getRequest());
    RepliesWriter writer(params.getReplies());
    auto status = co_await server.call(path, kj::mv(request), writer);
    auto results = context.getResults();
    results.setCode(static_cast<uint32_t>(status.code));
    results.setMessage(status.message);
  }

 private:
  grpc::Server& server;
  kj::StringPtr text;
};

Successor::Client bootstrap(capnp::RpcSystem<capnp::rpc::twoparty::VatId>& rpc) {
  capnp::MallocMessageBuilder message;
  auto vat = message.initRoot<capnp::rpc::twoparty::VatId>();
  vat.setSide(capnp::rpc::twoparty::Side::SERVER);
  return rpc.bootstrap(vat).castAs<Successor>();
}

}  // namespace

SuccessorRelay::SuccessorRelay(kj::Own<kj::AsyncCapabilityStream> stream)
    : socket(kj::mv(stream)),
      network(*socket, capnp::rpc::twoparty::Side::CLIENT),
      rpc(capnp::makeRpcClient(network)),
      successor(bootstrap(rpc)) {}

kj::Promise<kj::String> SuccessorRelay::version() {
  auto answer = co_await successor.versionRequest().send();
  co_return kj::str(answer.getVersion());
}

kj::Promise<grpc::Reply> SuccessorRelay::unary(kj::StringPtr path,
                                               kj::ArrayPtr<const kj::byte> request) {
  auto call = successor.unaryRequest();
  call.setPath(path);
  call.setRequest(request);
  auto answer = co_await call.send();
  co_return grpc::Reply{statusOf(answer.getCode(), answer.getMessage()),
                        kj::heapArray<kj::byte>(answer.getReply())};
}

kj::Promise<grpc::Status> SuccessorRelay::stream(kj::StringPtr path,
                                                 kj::ArrayPtr<const kj::byte> request,
                                                 grpc::MessageWriter& writer) {
  auto replies = kj::heap<RepliesServer>(writer);
  auto& server = *replies;
  Replies::Client client = kj::mv(replies);
  KJ_DEFER(server.forget());
  auto call = successor.streamRequest();
  call.setPath(path);
  call.setRequest(request);
  call.setReplies(client);
  auto answer = co_await call.send();
  co_return statusOf(answer.getCode(), answer.getMessage());
}

kj::Promise<void> serveSuccessor(kj::Own<kj::AsyncCapabilityStream> socket, grpc::Server& server,
                                 kj::StringPtr version) {
  capnp::TwoPartyVatNetwork network(*socket, capnp::rpc::twoparty::Side::SERVER);
  auto system = capnp::makeRpcServer(network, kj::heap<SuccessorServer>(server, version));
  co_await network.onDisconnect();
}

}  // namespace belay::criapi
