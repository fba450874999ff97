// Connections to a pod's ports, many over one client's connection.
#include "criapi/streaming/port-forward.h"

#include <kj/debug.h>

#include "criapi/streaming/input-queue.h"
#include "criapi/streaming/output-pump.h"
#include "criapi/streaming/text-source.h"

namespace belay::criapi::streaming {
namespace {

// 1 to 65535.
kj::Maybe<uint16_t> parsePort(kj::StringPtr text) {
  if (text.size() == 0 || text.size() > 5) return nullptr;
  uint32_t port = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return nullptr;
    port = port * 10 + (c - '0');
  }
  if (port == 0 || port > 65535) return nullptr;
  return static_cast<uint16_t>(port);
}

// Clients from before request ids: the data stream is the one that comes right after its error
// stream.
std::string pairKey(const StreamHeaders& headers) {
  if (headers.requestId.size() > 0) return std::string("request ") + headers.requestId.cStr();
  uint32_t errorId = headers.type == "error" ? headers.id : headers.id - 2;
  return "stream " + std::to_string(errorId);
}

}  // namespace

// The two streams of one connection.
class PortForward::Pair {
 public:
  Pair(uint16_t port, InputBacklog& backlog) : port(port), data(backlog) {}

  // The client sends nothing on it; what it does send is dropped.
  struct Error : Receiver {
    void received(kj::ArrayPtr<const kj::byte>) override {}
    void ended() override {}
    void aborted() override {}
  };

  struct Data : Receiver {
    explicit Data(InputBacklog& backlog) : queue(backlog) {}
    InputQueue queue;
    kj::PromiseFulfillerPair<void> aborting = kj::newPromiseAndFulfiller<void>();
    void received(kj::ArrayPtr<const kj::byte> bytes) override { queue.add(bytes); }
    void ended() override { queue.end(); }
    void aborted() override { aborting.fulfiller->fulfill(); }
  };

  uint16_t port;
  Error error;
  Data data;
  OutputPump pump;
  kj::Maybe<kj::Own<Stream>> errorStream, dataStream;
  kj::PromiseFulfillerPair<void> complete = kj::newPromiseAndFulfiller<void>();
};

PortForward::PortForward(const SessionContext& context, kj::AutoCloseFd socket)
    : context(context), tasks(*this) {
  shim.emplace(context.port, kj::mv(socket));
}

PortForward::PortForward(const SessionContext& context, kj::StringPtr refusal)
    : context(context), refusal(kj::str(refusal)), tasks(*this) {}

PortForward::~PortForward() noexcept(false) {}

kj::Promise<void> PortForward::run() {
  KJ_IF_MAYBE (link, shim) {
    for (;;) {
      auto received = co_await link->receive();
      KJ_IF_MAYBE (packet, received) {
        answered(**packet);
      } else {
        break;
      }
    }
    // What is connected goes on without it.
    refuseAll(kj::str("the pod's shim went away"));
  }
  co_await kj::Promise<void>(kj::NEVER_DONE);
}

void PortForward::opened(kj::Own<Stream> stream, StreamHeaders headers) {
  bool isError = headers.type == "error";
  if (!isError && headers.type != "data") return;
  KJ_IF_MAYBE (port, parsePort(headers.port)) {
    auto key = pairKey(headers);
    auto& place = pairs[key];
    bool isNew = place.get() == nullptr;
    if (isNew) place = kj::heap<Pair>(*port, context.backlog);
    auto& pair = *place;
    auto& half = isError ? pair.errorStream : pair.dataStream;
    if (half != nullptr || pair.port != *port) return;
    stream->accept(isError ? static_cast<Receiver&>(pair.error) : pair.data);
    half = kj::mv(stream);
    if (pair.errorStream != nullptr && pair.dataStream != nullptr)
      pair.complete.fulfiller->fulfill();
    if (isNew) tasks.add(serve(key, pair));
  }
}

// A pair's whole life.
kj::Promise<void> PortForward::serve(const std::string& name, Pair& pair) {
  auto key = name;
  // Streams that have not ended by then are reset.
  KJ_DEFER(pairs.erase(key));
  bool complete =
      co_await pair.complete.promise.then([]() { return true; })
          .exclusiveJoin(context.timer.afterDelay(context.settings.streamTimeout).then([]() {
            return false;
          }));
  kj::String failure;
  if (!complete) {
    failure = kj::str("the second stream of the forwarded connection did not come within ",
                      context.settings.streamTimeout / kj::SECONDS, " s");
  } else {
    auto dialed = co_await dial(pair.port);
    if (dialed.socket != nullptr) {
      co_await forward(pair, kj::mv(dialed.socket));
    } else {
      failure = kj::mv(dialed.failure);
    }
  }
  KJ_IF_MAYBE (stream, pair.errorStream) co_await sendText(**stream, failure);
}

kj::Promise<void> PortForward::forward(Pair& pair, kj::AutoCloseFd connected) {
  StreamFd socket(context.port, kj::mv(connected));
  auto& stream = *KJ_ASSERT_NONNULL(pair.dataStream);
  auto up = pair.data.queue.writeTo(socket).then([&socket]() { socket.shutdownWrite(); }).fork();
  auto down = pair.pump.run(socket, stream).fork();
  auto abort = pair.data.aborting.promise.fork();

  co_await up.addBranch().exclusiveJoin(down.addBranch()).exclusiveJoin(abort.addBranch());
  // One direction has ended. Peers give the other a second; here it may go on while bytes move.
  auto both = kj::heapArrayBuilder<kj::Promise<void>>(2);
  both.add(up.addBranch());
  both.add(down.addBranch());
  auto over = kj::joinPromises(both.finish()).exclusiveJoin(abort.addBranch()).fork();
  for (;;) {
    uint64_t before = pair.data.queue.bytesWritten() + pair.pump.piecesSent();
    bool ended =
        co_await over.addBranch()
            .then([]() { return true; })
            .exclusiveJoin(context.timer.afterDelay(context.settings.quietTimeout).then([]() {
              return false;
            }));
    if (ended) break;
    bool moved = before != pair.data.queue.bytesWritten() + pair.pump.piecesSent();
    if (!moved && pair.pump.isQuiet()) break;
  }
}

kj::Promise<PortForward::Dialed> PortForward::dial(uint16_t port) {
  if (refusal.size() > 0) return Dialed{nullptr, kj::str(refusal)};
  uint32_t id = ++lastDialId;
  auto pair = kj::newPromiseAndFulfiller<Dialed>();
  dials[id] = kj::mv(pair.fulfiller);
  auto sent = KJ_ASSERT_NONNULL(shim).send([=](shim::ToShim::Builder message) {
    auto dial = message.initDial();
    dial.setId(id);
    dial.setPort(port);
  });
  return sent.then([promise = kj::mv(pair.promise)]() mutable { return kj::mv(promise); })
      .exclusiveJoin(context.timer.afterDelay(context.settings.dialTimeout).then([this, port]() {
        return Dialed{nullptr, kj::str("the pod's shim did not connect to port ", port, " within ",
                                       context.settings.dialTimeout / kj::SECONDS, " s")};
      }))
      .catch_([](kj::Exception&& exception) {
        return Dialed{nullptr, kj::str("the pod's shim went away: ", exception.getDescription())};
      })
      .attach(kj::defer([this, id]() { dials.erase(id); }));
}

void PortForward::answered(shim::Packet& packet) {
  auto message = packet.as<shim::FromShim>();
  auto answer = [&](uint32_t id, Dialed dialed) {
    auto found = dials.find(id);
    // Too late: nobody waits any more.
    if (found != dials.end()) found->second->fulfill(kj::mv(dialed));
  };
  if (message.isDialed()) {
    KJ_REQUIRE(packet.fds.size() == 1, "The shim sent no connection along.");
    answer(message.getDialed().getId(), {kj::mv(packet.fds[0]), nullptr});
  } else if (message.isDialFailed()) {
    auto failed = message.getDialFailed();
    answer(failed.getId(), {nullptr, kj::str(failed.getFailure().getMessage())});
  }
}

void PortForward::refuseAll(kj::String reason) {
  refusal = kj::mv(reason);
  for (auto& [id, fulfiller] : dials)
    fulfiller->fulfill({nullptr, kj::str(refusal)});
}

void PortForward::taskFailed(kj::Exception&& exception) {
  // The client's connection is gone, which its reader sees too.
  if (exception.getType() == kj::Exception::Type::DISCONNECTED) return;
  KJ_LOG(WARNING, "a forwarded connection failed", exception);
}

}  // namespace belay::criapi::streaming
