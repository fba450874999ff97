// See server-call.h.
#include "criapi/grpc/server-call.h"

#include <kj/debug.h>
#include <kj/encoding.h>

#include "criapi/grpc/timeout.h"

namespace belay::criapi::grpc {

namespace {

// A stream's writer waits while more than this is queued.
constexpr size_t LOW_WATER_BYTES = 64 * 1024;

// What RFC 9113 section 6.5.2 adds for each entry of a header list.
constexpr size_t HEADER_ENTRY_OVERHEAD = 32;

constexpr kj::StringPtr CONTENT_TYPE = "application/grpc"_kj;

// "application/grpc", or that with "+proto" or ";parameters".
bool isGrpc(kj::StringPtr contentType) {
  if (!contentType.startsWith(CONTENT_TYPE)) return false;
  char next = contentType[CONTENT_TYPE.size()];  // NUL at the end
  return next == '\0' || next == '+' || next == ';';
}

kj::Vector<HeaderView> replyHead() {
  kj::Vector<HeaderView> head(8);
  head.add(HeaderView{":status", "200"});
  head.add(HeaderView{"content-type", CONTENT_TYPE});
  head.add(HeaderView{"grpc-accept-encoding", "identity,gzip"});
  return head;
}

bool isTrailerName(kj::StringPtr name) {
  if (name.size() == 0 || name.startsWith("grpc-")) return false;
  for (char c : name) {
    bool ok = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
    if (!ok) return false;
  }
  return true;
}

bool isPrintableAscii(kj::StringPtr text) {
  for (char c : text) {
    if (c < 0x20 || c > 0x7E) return false;
  }
  return true;
}

}  // namespace

ServerCall::ServerCall(ServerContext& server, Session& session, ByteBudget& budget,
                       int32_t streamId)
    : HandledCall(server),
      session(session),
      streamId(streamId),
      request(server.options.maxMessageBytes, budget),
      replies(budget) {}

ServerCall::~ServerCall() noexcept(false) {
  stop();
}

// -------------------------------------------------------------------------------------------------
// The request

void ServerCall::addHeader(kj::StringPtr name, kj::ArrayPtr<const char> value) {
  headerListBytes += name.size() + value.size() + HEADER_ENTRY_OVERHEAD;
  if (headerListBytes > server.options.maxHeaderListBytes) return;  // headersEnd() refuses it

  if (name == ":path") {
    requestPath = kj::heapString(value);
  } else if (name == ":method") {
    httpMethod = kj::heapString(value);
  } else if (!name.startsWith(":")) {
    if (name == "content-type") contentType = kj::heapString(value);
    headers.add(Header{kj::heapString(name), kj::heapString(value)});
  }
}

void ServerCall::headersEnd() {
  if (headerListBytes > server.options.maxHeaderListBytes) {
    return finish({Code::RESOURCE_EXHAUSTED,
                   kj::str("the call's metadata of ", headerListBytes,
                           " bytes exceeds the limit of ", server.options.maxHeaderListBytes)});
  }
  if (httpMethod != "POST") return rejectHttp("405");
  if (!isGrpc(contentType)) return rejectHttp("415");

  KJ_IF_MAYBE (found, server.methods.find(requestPath)) {
    method = *found;
  } else {
    return finish({Code::UNIMPLEMENTED, kj::str("unknown method ", requestPath)});
  }
  KJ_IF_MAYBE (refusal, acceptEncoding()) {
    return finish(kj::mv(*refusal));
  }
  KJ_IF_MAYBE (refusal, acceptTimeout()) {
    return finish(kj::mv(*refusal));
  }
}

// What is no gRPC gets an HTTP status, as gRPC's PROTOCOL-HTTP2.md wants.
void ServerCall::rejectHttp(kj::StringPtr httpStatus) {
  finalStatus = Status{Code::UNKNOWN, kj::str("HTTP status ", httpStatus)};
  HeaderView head[] = {{":status", httpStatus}};
  session.submitHeadersOnly(streamId, head);
}

kj::Maybe<Status> ServerCall::acceptEncoding() {
  KJ_IF_MAYBE (encoding, metadata("grpc-encoding")) {
    if (*encoding == "gzip") {
      request.setEncoding(Encoding::GZIP);
    } else if (*encoding != "identity") {
      return Status{Code::UNIMPLEMENTED, kj::str("grpc-encoding \"", *encoding,
                                                 "\" is not supported; use gzip or identity")};
    }
  }
  return nullptr;
}

kj::Maybe<Status> ServerCall::acceptTimeout() {
  KJ_IF_MAYBE (text, metadata("grpc-timeout")) {
    KJ_IF_MAYBE (timeout, parseTimeout(*text)) {
      deadline = server.timer.now() + *timeout;
      expiry = server.timer.afterDelay(*timeout)
                   .then([this]() { expire(); })
                   .eagerlyEvaluate([](kj::Exception&& e) { KJ_LOG(ERROR, e); });
    } else {
      return Status{Code::INTERNAL, kj::str("malformed grpc-timeout \"", *text, "\"")};
    }
  }
  return nullptr;
}

void ServerCall::addData(kj::ArrayPtr<const kj::byte> bytes) {
  if (isEnded()) return;
  KJ_IF_MAYBE (refusal, request.add(bytes)) {
    finish(kj::mv(*refusal));
  }
}

void ServerCall::requestEnd() {
  if (isEnded()) return;
  auto result = request.finish();
  KJ_SWITCH_ONEOF(result) {
    KJ_CASE_ONEOF(refusal, Status) {
      finish(kj::mv(refusal));
    }
    KJ_CASE_ONEOF(message, kj::Array<kj::byte>) {
      start(KJ_ASSERT_NONNULL(method), kj::mv(message));
    }
  }
}

kj::Maybe<kj::StringPtr> ServerCall::metadata(kj::StringPtr name) const {
  for (auto& header : headers) {
    if (header.name == name) return header.value.asPtr();
  }
  return nullptr;
}

kj::Maybe<kj::Duration> ServerCall::timeLeft() const {
  return deadline.map(
      [&](kj::TimePoint end) { return kj::max(end - server.timer.now(), 0 * kj::SECONDS); });
}

// -------------------------------------------------------------------------------------------------
// Replies and the deadline

kj::Promise<void> ServerCall::write(kj::Array<kj::byte> message) {
  KJ_IF_MAYBE (previous, pendingWrite) {
    KJ_REQUIRE(!(*previous)->isWaiting(), "one write at a time", requestPath);
  }
  enqueue(kj::mv(message));
  if (replies.size() <= LOW_WATER_BYTES) return kj::READY_NOW;
  auto paf = kj::newPromiseAndFulfiller<void>();
  pendingWrite = kj::mv(paf.fulfiller);
  return kj::mv(paf.promise);
}

void ServerCall::enqueue(kj::Array<kj::byte> message) {
  size_t size = message.size();
  if (size > server.options.maxMessageBytes) {
    fail(Code::RESOURCE_EXHAUSTED, kj::str("the reply of ", size, " bytes exceeds the limit of ",
                                           server.options.maxMessageBytes, " bytes"));
  }
  if (!replies.tryPush(kj::mv(message))) {
    fail(Code::RESOURCE_EXHAUSTED,
         "the server already holds as many bytes of messages as it may; read replies faster");
  }
  if (isReplyStarted) {
    session.resume(streamId);
  } else {
    isReplyStarted = true;
    auto head = replyHead();
    session.submitReply(streamId, head, *this);
  }
}

// The deadline passed: the handler is dropped. A client whose window or message is in the way of
// trailers gets RST_STREAM(CANCEL), which clients also read as the deadline if theirs has passed.
void ServerCall::expire() {
  bool isBlocked = isReplyStarted && (replies.isMidMessage() || session.isBlocked(streamId));
  if (isEnded()) {
    if (replies.size() > 0) session.reset(streamId, ResetCode::CANCEL);
    return;
  }
  stop();
  replies.clear();
  finish({Code::DEADLINE_EXCEEDED, kj::str("the deadline of the call passed")});
  if (isBlocked) session.reset(streamId, ResetCode::CANCEL);
}

// -------------------------------------------------------------------------------------------------
// The reply

void ServerCall::finish(Status status) {
  if (isEnded()) return;
  if (method != nullptr) report(status.code, status.message);
  finalStatus = kj::mv(status);
  if (isReplyStarted) {
    session.resume(streamId);
  } else {
    isReplyStarted = true;
    auto& end = KJ_ASSERT_NONNULL(finalStatus);
    auto code = kj::str(static_cast<uint32_t>(end.code));
    auto message = encodeMessage(end.message);
    session.submitHeadersOnly(streamId, withStatus(replyHead(), code, message));
  }
}

void ServerCall::take(size_t count, kj::Vector<kj::byte>& out) {
  replies.take(count, out);
  if (replies.size() > LOW_WATER_BYTES) return;
  KJ_IF_MAYBE (fulfiller, pendingWrite) {
    (*fulfiller)->fulfill();
    pendingWrite = nullptr;
  }
}

void ServerCall::sendTrailers() {
  auto& end = KJ_ASSERT_NONNULL(finalStatus);
  auto code = kj::str(static_cast<uint32_t>(end.code));
  auto message = encodeMessage(end.message);
  session.submitTrailers(streamId, withStatus({}, code, message));
}

kj::Vector<HeaderView> ServerCall::withStatus(kj::Vector<HeaderView> head, kj::StringPtr code,
                                              kj::StringPtr message) const {
  head.add(HeaderView{"grpc-status", code});
  if (message.size() > 0) head.add(HeaderView{"grpc-message", message});
  for (auto& trailer : trailers)
    head.add(HeaderView{trailer.name, trailer.value});
  return head;
}

void ServerCall::addTrailer(kj::StringPtr name, kj::StringPtr value) {
  KJ_REQUIRE(isTrailerName(name), "no name for a trailer", name);
  if (name.endsWith("-bin")) {
    trailers.add(Header{kj::str(name), kj::encodeBase64(value.asBytes())});
    return;
  }
  KJ_REQUIRE(isPrintableAscii(value), "a trailer's value must be printable ASCII", name);
  trailers.add(Header{kj::str(name), kj::str(value)});
}

void ServerCall::closed() {
  if (!isEnded() && method != nullptr) {
    report(Code::CANCELLED, "the client gave the call up"_kj);
  }
}

}  // namespace belay::criapi::grpc
