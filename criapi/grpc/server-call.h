// One call on a connection: checks its head, collects its request, runs the handler, sends the
// reply and the status, and keeps the deadline.
#pragma once

#include <kj/async.h>
#include <kj/vector.h>

#include "criapi/grpc/handled-call.h"
#include "criapi/grpc/message.h"
#include "criapi/grpc/reply-queue.h"
#include "criapi/grpc/session.h"

namespace belay::criapi::grpc {

class ServerCall final : public HandledCall, public ReplySource {
 public:
  // `session` and `budget` (the connection's) outlive this.
  ServerCall(ServerContext& server, Session& session, ByteBudget& budget, int32_t streamId);
  ~ServerCall() noexcept(false);
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

  // MessageWriter
  kj::Promise<void> write(kj::Array<kj::byte> message) override;

  // ReplySource
  size_t available() const override { return replies.size(); }
  bool isEnded() const override { return finalStatus != nullptr; }
  void take(size_t count, kj::Vector<kj::byte>& out) override;
  void sendTrailers() override;

 private:
  Session& session;
  int32_t streamId;

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
  // Set when the call ended; what is queued is still being sent then.
  kj::Maybe<Status> finalStatus;
  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> pendingWrite;

  kj::Maybe<kj::Promise<void>> expiry;

  void rejectHttp(kj::StringPtr httpStatus);
  kj::Maybe<Status> acceptEncoding();
  kj::Maybe<Status> acceptTimeout();

  // HandledCall
  bool hasBegunReply() const override { return isReplyStarted; }
  void reply(kj::Array<kj::byte> message) override { enqueue(kj::mv(message)); }
  void finish(Status status) override;

  void enqueue(kj::Array<kj::byte> message);
  void expire();
  kj::Vector<HeaderView> withStatus(kj::Vector<HeaderView> head, kj::StringPtr code,
                                    kj::StringPtr message) const;
};

}  // namespace belay::criapi::grpc
