// See handled-call.h.
#include "criapi/grpc/handled-call.h"

#include <kj/debug.h>

namespace belay::criapi::grpc {

HandledCall::HandledCall(ServerContext& server)
    : server(server), startedAt(kj::systemPreciseMonotonicClock().now()) {}

void HandledCall::start(Method& chosen, kj::Array<const kj::byte> bytes) {
  method = chosen;
  request = kj::mv(bytes);
  begin();
}

void HandledCall::begin() {
  // Never from within nghttp2's callbacks.
  running = kj::evalLater([this]() { return run(); }).eagerlyEvaluate([](kj::Exception&& e) {
    KJ_LOG(ERROR, e);
  });
}

void HandledCall::relay() {
  KJ_IF_MAYBE (known, method) {
    if (running == nullptr || hasBegunReply() || known->onRelay == OnRelay::FINISH) return;
    chosenStatus = nullptr;
    begin();
  }
}

kj::Promise<void> HandledCall::run() {
  Status status;
  try {
    KJ_IF_MAYBE (relay, server.relay) {
      status = co_await handleElsewhere(*relay);
    } else {
      status = co_await handle();
    }
  } catch (...) {
    status = statusOf(kj::getCaughtExceptionAsKj());
  }
  KJ_IF_MAYBE (chosen, chosenStatus) {
    status = kj::mv(*chosen);
  }
  finish(kj::mv(status));
}

kj::Promise<Status> HandledCall::handle() {
  auto& known = KJ_ASSERT_NONNULL(method);
  KJ_SWITCH_ONEOF(known.handler) {
    KJ_CASE_ONEOF(unary, UnaryHandler) {
      auto message = co_await unary(*this, request);
      bool isRefused = false;
      KJ_IF_MAYBE (chosen, chosenStatus) {
        isRefused = !chosen->isOk();
      }
      if (!isRefused) reply(kj::mv(message));
    }
    KJ_CASE_ONEOF(stream, StreamHandler) {
      co_await stream(*this, request, *this);
    }
  }
  co_return Status{};
}

kj::Promise<Status> HandledCall::handleElsewhere(CallRelay& relay) {
  auto& known = KJ_ASSERT_NONNULL(method);
  if (known.handler.is<StreamHandler>()) {
    co_return co_await relay.stream(path(), request, *this);
  }
  auto result = co_await relay.unary(path(), request);
  if (result.status.isOk()) reply(kj::mv(result.message));
  co_return kj::mv(result.status);
}

Status HandledCall::statusOf(const kj::Exception& exception) {
  auto status = server.options.statusOf(exception);
  // An exception is never success.
  if (status.isOk()) status.code = Code::UNKNOWN;
  return status;
}

void HandledCall::report(Code code, kj::StringPtr message) {
  KJ_IF_MAYBE (onCallEnd, server.options.onCallEnd) {
    (*onCallEnd)(CallReport{.path = path(),
                            .code = code,
                            .message = message,
                            .elapsed = kj::systemPreciseMonotonicClock().now() - startedAt});
  }
}

}  // namespace belay::criapi::grpc
