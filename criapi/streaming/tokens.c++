// See tokens.h.
#include "criapi/streaming/tokens.h"

#include <kj/debug.h>
#include <sys/random.h>

#include "snapshot/failure.h"

namespace belay::criapi::streaming {

namespace {

constexpr size_t TOKEN_BYTES = 32;

// base64url without padding (RFC 4648).
kj::String newToken() {
  kj::byte bytes[TOKEN_BYTES + 1] = {};
  ssize_t count;
  KJ_SYSCALL(count = getrandom(bytes, TOKEN_BYTES, 0));
  KJ_ASSERT(count == TOKEN_BYTES);
  constexpr char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  kj::Vector<char> text;
  for (size_t bit = 0; bit < TOKEN_BYTES * 8; bit += 6) {
    unsigned pair = bytes[bit / 8] << 8 | bytes[bit / 8 + 1];
    text.add(DIGITS[pair >> (10 - bit % 8) & 63]);
  }
  return kj::heapString(text);
}

void fill(StreamHandover::Streams::Builder out, supervisor::StreamSet streams, bool tty) {
  out.setStdin(streams.in);
  out.setStdout(streams.out);
  out.setStderr(streams.err);
  out.setTty(tty);
}

supervisor::StreamSet streamsOf(StreamHandover::Streams::Reader streams) {
  return {streams.getStdin(), streams.getStdout(), streams.getStderr()};
}

void describeRequest(const StreamRequest& request, StreamHandover::Token::Builder out) {
  KJ_SWITCH_ONEOF(request) {
    KJ_CASE_ONEOF(exec, ExecRequest) {
      auto target = out.initExec();
      target.setContainerId(exec.containerId);
      auto command = target.initCommand(exec.command.size());
      for (size_t i = 0; i < exec.command.size(); ++i)
        command.set(i, exec.command[i].asBytes());
      fill(target.initStreams(), exec.streams, exec.tty);
    }
    KJ_CASE_ONEOF(attach, AttachRequest) {
      auto target = out.initAttach();
      target.setContainerId(attach.containerId);
      fill(target.initStreams(), attach.streams, attach.tty);
    }
    KJ_CASE_ONEOF(forward, PortForwardRequest) {
      auto target = out.initPortForward();
      target.setPodId(forward.podId);
      auto ports = target.initPorts(forward.ports.size());
      for (size_t i = 0; i < forward.ports.size(); ++i)
        ports.set(i, forward.ports[i]);
    }
  }
}

StreamRequest requestOf(StreamHandover::Token::Reader token) {
  StreamRequest request;
  switch (token.which()) {
    case StreamHandover::Token::EXEC: {
      auto exec = token.getExec();
      auto command = KJ_MAP(word, exec.getCommand()) {
        return kj::heapString(word.asChars());
      };
      auto streams = exec.getStreams();
      request.init<ExecRequest>(ExecRequest{kj::str(exec.getContainerId()), kj::mv(command),
                                            streams.getTty(), streamsOf(streams)});
      break;
    }
    case StreamHandover::Token::ATTACH: {
      auto attach = token.getAttach();
      auto streams = attach.getStreams();
      request.init<AttachRequest>(
          AttachRequest{kj::str(attach.getContainerId()), streams.getTty(), streamsOf(streams)});
      break;
    }
    case StreamHandover::Token::PORT_FORWARD: {
      auto forward = token.getPortForward();
      kj::Vector<uint16_t> ports;
      for (auto port : forward.getPorts())
        ports.add(port);
      request.init<PortForwardRequest>(
          PortForwardRequest{kj::str(forward.getPodId()), ports.releaseAsArray()});
      break;
    }
  }
  return request;
}

}  // namespace

kj::String Tokens::add(StreamRequest request) {
  forgetOld();
  if (entries.size() >= MAX_WAITING) {
    snapshot::fail(snapshot::Code::RESOURCE_EXHAUSTED, MAX_WAITING,
                   " streaming URLs wait for their clients already: they are good for ",
                   LIFETIME / kj::SECONDS, " s, try again then");
  }
  auto token = newToken();
  insert(kj::str(token), kj::mv(request), clock.now() + LIFETIME);
  return token;
}

void Tokens::insert(kj::String token, StreamRequest request, kj::TimePoint expiry) {
  order.push_back({kj::str(token), expiry});
  entries.insert(kj::mv(token), Entry{kj::mv(request), expiry});
}

// In the order of their expiry.
void Tokens::describe(StreamHandover::Builder handover) const {
  kj::Vector<kj::StringPtr> waiting;
  for (auto& one : order) {
    if (entries.find(one.token) != nullptr) waiting.add(one.token);
  }
  auto list = handover.initTokens(waiting.size());
  for (size_t i = 0; i < waiting.size(); ++i) {
    auto& entry = KJ_ASSERT_NONNULL(entries.find(waiting[i]));
    list[i].setText(waiting[i]);
    list[i].setExpiresAtNs((entry.expiry - kj::origin<kj::TimePoint>()) / kj::NANOSECONDS);
    describeRequest(entry.request, list[i]);
  }
}

void Tokens::takeOver(StreamHandover::Reader handover) {
  for (auto token : handover.getTokens()) {
    insert(kj::str(token.getText()), requestOf(token),
           kj::origin<kj::TimePoint>() + token.getExpiresAtNs() * kj::NANOSECONDS);
  }
}

kj::Maybe<StreamRequest> Tokens::redeem(Kind kind, kj::StringPtr token) {
  forgetOld();
  KJ_IF_MAYBE (entry, entries.find(token)) {
    if (kindOf(entry->request) != kind) return nullptr;
    auto request = kj::mv(entry->request);
    entries.erase(token);
    return kj::mv(request);
  }
  return nullptr;
}

void Tokens::forgetOld() {
  while (!order.empty() && order.front().expiry <= clock.now()) {
    entries.erase(order.front().token);
    order.pop_front();
  }
}

}  // namespace belay::criapi::streaming
