// See local-call.h.
#include "criapi/grpc/local-call.h"

#include <kj/debug.h>

namespace belay::criapi::grpc {

LocalCall::LocalCall(ServerContext& server, kj::StringPtr path, kj::Maybe<MessageWriter&> writer)
    : HandledCall(server), requestPath(path), writer(writer) {}

LocalCall::~LocalCall() noexcept(false) {
  stop();
}

kj::Promise<Reply> LocalCall::run(kj::Array<const kj::byte> request) {
  auto paf = kj::newPromiseAndFulfiller<Reply>();
  done = kj::mv(paf.fulfiller);
  KJ_IF_MAYBE (method, server.methods.find(requestPath)) {
    if (method->handler.is<StreamHandler>() == (writer != nullptr)) {
      start(*method, kj::mv(request));
      return kj::mv(paf.promise);
    }
  }
  finish({Code::UNIMPLEMENTED, kj::str("unknown method ", requestPath)});
  return kj::mv(paf.promise);
}

kj::Promise<void> LocalCall::write(kj::Array<kj::byte> bytes) {
  hasWritten = true;
  return KJ_ASSERT_NONNULL(writer).write(kj::mv(bytes));
}

void LocalCall::finish(Status status) {
  hasEnded = true;
  report(status.code, status.message);
  done->fulfill(Reply{kj::mv(status), kj::mv(message)});
}

}  // namespace belay::criapi::grpc
