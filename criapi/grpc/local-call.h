// A call that comes from within the process, without a connection of its own.
#pragma once

#include "criapi/grpc/handled-call.h"

namespace belay::criapi::grpc {

class LocalCall final : public HandledCall {
 public:
  // `writer` gets the messages of a stream; a unary method's comes with the reply. `path` and
  // `writer` outlive this.
  LocalCall(ServerContext& server, kj::StringPtr path, kj::Maybe<MessageWriter&> writer);
  ~LocalCall() noexcept(false);

  // Once, and this outlives the promise.
  kj::Promise<Reply> run(kj::Array<const kj::byte> request);

  // Call
  kj::StringPtr path() const override { return requestPath; }
  kj::ArrayPtr<const Header> metadata() const override { return nullptr; }
  kj::Maybe<kj::StringPtr> metadata(kj::StringPtr) const override { return nullptr; }
  kj::Maybe<kj::Duration> timeLeft() const override { return nullptr; }
  void addTrailer(kj::StringPtr, kj::StringPtr) override {}

  // MessageWriter
  kj::Promise<void> write(kj::Array<kj::byte> message) override;

  // For the server's list of these.
  kj::ListLink<LocalCall> link;

 private:
  kj::StringPtr requestPath;
  kj::Maybe<MessageWriter&> writer;
  bool hasWritten = false;
  bool hasEnded = false;
  kj::Array<kj::byte> message;
  kj::Own<kj::PromiseFulfiller<Reply>> done;

  bool hasBegunReply() const override { return hasWritten || hasEnded; }
  void reply(kj::Array<kj::byte> bytes) override { message = kj::mv(bytes); }
  void finish(Status status) override;
};

}  // namespace belay::criapi::grpc
