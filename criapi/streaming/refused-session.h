// An exec or attach that was good when its token was made, and is not any more.
#pragma once

#include "criapi/streaming/session-context.h"
#include "criapi/streaming/status.h"
#include "criapi/streaming/stream.h"
#include "criapi/streaming/text-source.h"

namespace belay::criapi::streaming {

// Clients read a reason only after they have opened all their streams: each is accepted and ended,
// and the reason goes to the error stream.
class RefusedSession final : public StreamAcceptor {
 public:
  RefusedSession(const SessionContext& context, kj::StringPtr reason)
      : context(context), status(internalErrorStatus(reason)) {}

  // Resolves when the client has been told and opens no more streams.
  kj::Promise<void> run() {
    bool there =
        co_await errorThere.promise.then([]() { return true; })
            .exclusiveJoin(context.timer.afterDelay(context.settings.streamTimeout).then([]() {
              return false;
            }));
    if (!there) co_return;
    co_await sendText(*KJ_ASSERT_NONNULL(errorStream), status);
    size_t before;
    do {
      before = streams.size();
      co_await context.timer.afterDelay(context.settings.quietTimeout);
    } while (streams.size() > before);
  }

  void opened(kj::Own<Stream> stream, StreamHeaders headers) override {
    // No client has more than five.
    if (streams.size() == 8) return;
    stream->accept(receiver);
    if (headers.type == "error" && errorStream == nullptr) {
      errorStream = kj::mv(stream);
      errorThere.fulfiller->fulfill();
    } else {
      stream->end();
      streams.add(kj::mv(stream));
    }
  }

 private:
  struct Ignore : Receiver {
    void received(kj::ArrayPtr<const kj::byte>) override {}
    void ended() override {}
    void aborted() override {}
  };

  const SessionContext& context;
  kj::String status;
  Ignore receiver;
  kj::PromiseFulfillerPair<void> errorThere = kj::newPromiseAndFulfiller<void>();
  kj::Maybe<kj::Own<Stream>> errorStream;
  kj::Vector<kj::Own<Stream>> streams;
};

}  // namespace belay::criapi::streaming
