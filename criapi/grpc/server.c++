// See server.h.
#include "criapi/grpc/server.h"

#include <kj/debug.h>

#include "criapi/grpc/connection.h"

namespace belay::criapi::grpc {

namespace {

// How long to wait before accepting again when out of file descriptors or memory.
constexpr kj::Duration ACCEPT_BACKOFF = 100 * kj::MILLISECONDS;

}  // namespace

class Server::Impl final : private kj::TaskSet::ErrorHandler {
 public:
  Impl(kj::Timer& timer, Options&& options)
      : options(kj::mv(options)),
        budget(this->options.maxBufferedBytes),
        context{timer, this->options, methods, budget},
        tasks(*this),
        drainStart(kj::newPromiseAndFulfiller<void>()),
        drainStarted(drainStart.promise.fork()) {}

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

  kj::Promise<void> listen(kj::ConnectionReceiver& receiver) {
    return acceptLoop(receiver).exclusiveJoin(drainStarted.addBranch());
  }

  kj::Promise<void> drain() {
    KJ_IF_MAYBE (already, drained) {
      return already->addBranch();
    }
    drainStart.fulfiller->fulfill();
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
  kj::PromiseFulfillerPair<void> drainStart;
  kj::ForkedPromise<void> drainStarted;
  kj::Maybe<kj::ForkedPromise<void>> drained;

  bool isDraining() const { return drained != nullptr; }

  kj::Promise<void> serve(kj::Own<kj::AsyncIoStream> stream) {
    Connection connection(context, kj::mv(stream));
    connections.add(connection);
    KJ_DEFER(connections.remove(connection));
    co_await connection.run();
  }

  kj::Promise<void> acceptLoop(kj::ConnectionReceiver& receiver) {
    for (;;) {
      kj::Maybe<kj::Own<kj::AsyncIoStream>> stream;
      try {
        stream = co_await receiver.accept();
      } catch (...) {
        auto exception = kj::getCaughtExceptionAsKj();
        // Out of file descriptors, say: others that end will make room.
        if (exception.getType() != kj::Exception::Type::OVERLOADED) {
          kj::throwFatalException(kj::mv(exception));
        }
        KJ_LOG(WARNING, "gRPC: cannot accept connections for now", exception);
      }
      KJ_IF_MAYBE (s, stream) {
        accept(kj::mv(*s));
      } else {
        co_await context.timer.afterDelay(ACCEPT_BACKOFF);
      }
    }
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

kj::Promise<void> Server::listen(kj::ConnectionReceiver& receiver) {
  return impl->listen(receiver);
}

kj::Promise<void> Server::drain() {
  return impl->drain();
}

size_t Server::connectionCount() const {
  return impl->connectionCount();
}

}  // namespace belay::criapi::grpc
