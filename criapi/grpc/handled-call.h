// What all calls have in common, wherever their requests come from: a handler that runs, and can be
// given up for a relay.
#pragma once

#include <kj/async.h>
#include <kj/list.h>
#include <kj/map.h>
#include <kj/one-of.h>
#include <kj/timer.h>

#include "criapi/grpc/byte-budget.h"
#include "criapi/grpc/relay.h"
#include "criapi/grpc/server.h"

namespace belay::criapi::grpc {

struct Method {
  kj::OneOf<UnaryHandler, StreamHandler> handler;
  OnRelay onRelay;
};
using MethodTable = kj::HashMap<kj::String, Method>;

// What all calls of a server share. The members outlive every call.
struct ServerContext {
  kj::Timer& timer;
  Options& options;
  MethodTable& methods;
  ByteBudget& budget;
  kj::Maybe<CallRelay&> relay;  // set once
};

// The derived class owns the reply. It must call stop() in its destructor, so that a handler's
// destructors find all of it alive.
class HandledCall : public Call, public MessageWriter {
 public:
  explicit HandledCall(ServerContext& server);
  KJ_DISALLOW_COPY_AND_MOVE(HandledCall);

  // The server's relay was set: gives the handler up and asks there instead, unless the reply has
  // begun or the method is one to be finished where it began.
  void relay();

  void setStatus(Status status) override { chosenStatus = kj::mv(status); }

 protected:
  ~HandledCall() = default;

  ServerContext& server;

  // Runs the handler, from the event loop.
  void start(Method& method, kj::Array<const kj::byte> request);
  // Drops it.
  void stop() { running = nullptr; }

  // How the call ended, for Options::onCallEnd.
  void report(Code code, kj::StringPtr message);

  // A message of the reply was queued or sent.
  virtual bool hasBegunReply() const = 0;
  // A unary call's message. May throw, which ends the call.
  virtual void reply(kj::Array<kj::byte> message) = 0;
  // Once, unless stop() was called before.
  virtual void finish(Status status) = 0;

 private:
  kj::TimePoint startedAt;
  kj::Maybe<Method&> method;
  kj::Array<const kj::byte> request;
  kj::Maybe<Status> chosenStatus;
  kj::Maybe<kj::Promise<void>> running;

  void begin();
  kj::Promise<void> run();
  kj::Promise<Status> handle();
  kj::Promise<Status> handleElsewhere(CallRelay& relay);
  Status statusOf(const kj::Exception& exception);
};

}  // namespace belay::criapi::grpc
