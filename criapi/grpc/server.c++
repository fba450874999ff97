// See server.h.
#include "criapi/grpc/server.h"

#include <kj/debug.h>

#include "criapi/grpc/connection.h"
#include "criapi/grpc/local-call.h"

namespace belay::criapi::grpc {

class Server::Impl final : private kj::TaskSet::ErrorHandler {
 public:
  Impl(kj::Timer& timer, Options&& options)
      : options(kj::mv(options)),
        budget(this->options.maxBufferedBytes),
        context{timer, this->options, methods, budget, nullptr},
        tasks(*this) {}

  void addMethod(kj::StringPtr path, Method method) {
    KJ_REQUIRE(path.startsWith("/"), "a gRPC method's path starts with a slash", path);
    methods.insert(kj::str(path), kj::mv(method));
  }

  void accept(kj::Own<kj::AsyncIoStream> stream) {
    if (isDraining()) return;
    if (connections.size() >= options.maxConnections) {
      KJ_LOG(WARNING, "gRPC: too many connections, closing a new one", options.maxConnections);
      return;
    }
    tasks.add(serve(kj::mv(stream)));
  }

  kj::Promise<void> drain(kj::Duration patience) {
    KJ_IF_MAYBE (already, drained) {
      return already->addBranch();
    }
    for (auto& connection : connections)
      connection.drain(patience);
    auto& all = drained.emplace(tasks.onEmpty().fork());
    return all.addBranch();
  }

  kj::Promise<Reply> call(kj::StringPtr path, kj::Array<const kj::byte> request,
                          kj::Maybe<MessageWriter&> writer) {
    LocalCall call(context, path, writer);
    localCalls.add(call);
    KJ_DEFER(localCalls.remove(call));
    co_return co_await call.run(kj::mv(request));
  }

  void relayTo(CallRelay& relay) {
    context.relay = relay;
    for (auto& connection : connections)
      connection.relayCalls();
    for (auto& call : localCalls)
      call.relay();
  }

  size_t connectionCount() const { return connections.size(); }

 private:
  Options options;
  MethodTable methods;
  ByteBudget budget;
  ServerContext context;
  kj::List<Connection, &Connection::link> connections;
  kj::List<LocalCall, &LocalCall::link> localCalls;
  kj::TaskSet tasks;
  kj::Maybe<kj::ForkedPromise<void>> drained;

  bool isDraining() const { return drained != nullptr; }

  kj::Promise<void> serve(kj::Own<kj::AsyncIoStream> stream) {
    Connection connection(context, kj::mv(stream));
    connections.add(connection);
    KJ_DEFER(connections.remove(connection));
    co_await connection.run();
  }

  // A connection broke; that is its client's business.
  void taskFailed(kj::Exception&& exception) override {
    if (exception.getType() == kj::Exception::Type::DISCONNECTED) return;
    KJ_LOG(WARNING, "gRPC: closed a connection", exception);
  }
};

Server::Server(kj::Timer& timer, Options options) : impl(kj::heap<Impl>(timer, kj::mv(options))) {}
Server::~Server() noexcept(false) = default;

void Server::addUnary(kj::StringPtr path, UnaryHandler handler, OnRelay onRelay) {
  impl->addMethod(path, Method{kj::mv(handler), onRelay});
}

void Server::addStream(kj::StringPtr path, StreamHandler handler) {
  impl->addMethod(path, Method{kj::mv(handler), OnRelay::REPEAT});
}

void Server::accept(kj::Own<kj::AsyncIoStream> stream) {
  impl->accept(kj::mv(stream));
}

kj::Promise<void> Server::drain(kj::Duration patience) {
  return impl->drain(patience);
}

kj::Promise<Reply> Server::call(kj::StringPtr path, kj::Array<const kj::byte> request) {
  return impl->call(path, kj::mv(request), nullptr);
}

kj::Promise<Status> Server::call(kj::StringPtr path, kj::Array<const kj::byte> request,
                                 MessageWriter& writer) {
  return impl->call(path, kj::mv(request), writer).then([](Reply reply) {
    return kj::mv(reply.status);
  });
}

void Server::relayTo(CallRelay& relay) {
  impl->relayTo(relay);
}

size_t Server::connectionCount() const {
  return impl->connectionCount();
}

}  // namespace belay::criapi::grpc
