// See server.h.
#include "criapi/grpc/server.h"

#include <kj/debug.h>

#include "criapi/grpc/connection.h"

namespace belay::criapi::grpc {

class Server::Impl final : private kj::TaskSet::ErrorHandler {
 public:
  Impl(kj::Timer& timer, Options&& options)
      : options(kj::mv(options)),
        budget(this->options.maxBufferedBytes),
        context{timer, this->options, methods, budget},
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

  kj::Promise<void> drain() {
    KJ_IF_MAYBE (already, drained) {
      return already->addBranch();
    }
    for (auto& connection : connections)
      connection.drain();
    auto& all = drained.emplace(tasks.onEmpty().fork());
    return all.addBranch();
  }

  size_t connectionCount() const { return connections.size(); }

 private:
  Options options;
  MethodTable methods;
  ByteBudget budget;
  ServerContext context;
  kj::List<Connection, &Connection::link> connections;
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

void Server::addUnary(kj::StringPtr path, UnaryHandler handler) {
  impl->addMethod(path, Method(kj::mv(handler)));
}

void Server::addStream(kj::StringPtr path, StreamHandler handler) {
  impl->addMethod(path, Method(kj::mv(handler)));
}

void Server::accept(kj::Own<kj::AsyncIoStream> stream) {
  impl->accept(kj::mv(stream));
}

kj::Promise<void> Server::drain() {
  return impl->drain();
}

size_t Server::connectionCount() const {
  return impl->connectionCount();
}

}  // namespace belay::criapi::grpc
