// One call on a connection: checks its head, collects its request, runs the handler, sends the
// reply and the status, and keeps the deadline.
#pragma once

#include <kj/async.h>
#include <kj/map.h>
#include <kj/one-of.h>
#include <kj/timer.h>
#include <kj/vector.h>

#include "criapi/grpc/call.h"
#include "criapi/grpc/message.h"
#include "criapi/grpc/reply-queue.h"
#include "criapi/grpc/server.h"
#include "criapi/grpc/session.h"

namespace belay::criapi::grpc {

using Method = kj::OneOf<UnaryHandler, StreamHandler>;
using MethodTable = kj::HashMap<kj::String, Method>;

// What all calls of a server share. The members outlive every call.
struct ServerContext {
  kj::Timer& timer;
  Options& options;
  MethodTable& methods;
  ByteBudget& budget;
};

class ServerCall final : public Call, public MessageWriter, public ReplySource {
 public:
  // `session` and `budget` (the connection's) outlive this.
  ServerCall(ServerContext& server, Session& session, ByteBudget& budget, int32_t streamId);
  ~ServerCall() noexcept(false) = default;
  KJ_DISALLOW_COPY_AND_MOVE(ServerCall);

  // The request's parts, in this order (see SessionEvents). None but closed() once it ended.
  void addHeader(kj::StringPtr name, kj::ArrayPtr<const char> value);
  void headersEnd();
  void addData(kj::ArrayPtr<const kj::byte> bytes);
  void requestEnd();

  // The stream or the connection is over: reports a call that has not ended as cancelled. The owner
  // then destroys this, and with it the handler's promise.
  void closed();

  // Call
  kj::StringPtr path() const override { return requestPath; }
  kj::ArrayPtr<const Header> metadata() const override { return headers; }
  kj::Maybe<kj::StringPtr> metadata(kj::StringPtr name) const override;
  kj::Maybe<kj::Duration> timeLeft() const override;
  void addTrailer(kj::StringPtr name, kj::StringPtr value) override;
  void setStatus(Status status) override { chosenStatus = kj::mv(status); }

  // MessageWriter
  kj::Promise<void> write(kj::Array<kj::byte> message) override;

  // ReplySource
  size_t available() const override { return replies.size(); }
  bool isEnded() const override { return finalStatus != nullptr; }
  void take(size_t count, kj::Vector<kj::byte>& out) override;
  void sendTrailers() override;

 private:
  ServerContext& server;
  Session& session;
  int32_t streamId;
  kj::TimePoint startedAt;

  // The request.
  kj::String httpMethod;
  kj::String requestPath;
  kj::String contentType;
  kj::Vector<Header> headers;
  size_t headerListBytes = 0;
  kj::Maybe<Method&> method;
  kj::Maybe<kj::TimePoint> deadline;
  RequestAssembler request;

  // The reply.
  ReplyQueue replies;
  bool isReplyStarted = false;
  kj::Vector<Header> trailers;
  kj::Maybe<Status> chosenStatus;
  // Set when the call ended; what is queued is still being sent then.
  kj::Maybe<Status> finalStatus;
  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> pendingWrite;

  kj::Maybe<kj::Promise<void>> expiry;
  // Last, so that a handler's destructors find the rest of the call alive.
  kj::Maybe<kj::Promise<void>> running;

  void rejectHttp(kj::StringPtr httpStatus);
  kj::Maybe<Status> acceptEncoding();
  kj::Maybe<Status> acceptTimeout();

  kj::Promise<void> run(kj::Array<kj::byte> message);
  Status statusOf(const kj::Exception& exception);
  void enqueue(kj::Array<kj::byte> message);
  void expire();
  void finish(Status status);
  void report(Code code, kj::StringPtr message);
  kj::Vector<HeaderView> withStatus(kj::Vector<HeaderView> head, kj::StringPtr code,
                                    kj::StringPtr message) const;
};

}  // namespace belay::criapi::grpc
