// The server that test/grpc/grpc_test.py drives with other people's gRPC clients.
//
//     probe-server SOCKET
//
// Prints one line per event on stdout: "ready", "held" (a handler of Hold began), "draining".
// SIGUSR2 lets held calls end, SIGTERM closes the listener, drains, and ends the process.
#include <kj/async-io.h>
#include <kj/async-unix.h>
#include <kj/debug.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "criapi/grpc/server.h"
#include "criapi/grpc/utf8.h"
#include "test/grpc/probe.pb.h"

namespace belay::test {

namespace {

namespace pb = belay::test::grpc;
namespace rpc = belay::criapi::grpc;

void say(const char* line) {
  puts(line);
  fflush(stdout);
}

class Probe {
 public:
  explicit Probe(rpc::Server& server) : server(server) {}

  void addTo() {
    server.unary<pb::EchoRequest, pb::EchoReply>(
        "/belay.test.grpc.Probe/Echo", [](rpc::Call&, const pb::EchoRequest& request) {
          pb::EchoReply reply;
          reply.set_payload(request.reply_bytes() == 0 ? request.payload()
                                                       : std::string(request.reply_bytes(), 'r'));
          return kj::Promise<pb::EchoReply>(kj::mv(reply));
        });
    server.unary<pb::MetadataRequest, pb::MetadataReply>(
        "/belay.test.grpc.Probe/Metadata",
        [](rpc::Call& call, const pb::MetadataRequest&) { return metadata(call); });
    server.unary<pb::FailRequest, pb::EchoReply>(
        "/belay.test.grpc.Probe/Fail",
        [](rpc::Call& call, const pb::FailRequest& request) { return fail(call, request); });
    server.unary<pb::FailRequest, pb::EchoReply>(
        "/belay.test.grpc.Probe/Throw",
        [](rpc::Call&, const pb::FailRequest& request) -> kj::Promise<pb::EchoReply> {
          KJ_FAIL_REQUIRE("thrown", request.message().c_str());
        });
    server.unary<pb::HoldRequest, pb::EchoReply>(
        "/belay.test.grpc.Probe/Hold",
        [this](rpc::Call&, const pb::HoldRequest&) { return hold(); });
    server.serverStream<pb::CountRequest, pb::Item>(
        "/belay.test.grpc.Probe/Count",
        [this](rpc::Call& call, const pb::CountRequest& request,
               rpc::StreamWriter<pb::Item>& writer) { return count(call, request, writer); });
    server.serverStream<pb::HoldRequest, pb::Item>(
        "/belay.test.grpc.Probe/HoldStream",
        [this](rpc::Call&, const pb::HoldRequest&, rpc::StreamWriter<pb::Item>& writer) {
          return holdStream(writer);
        });
    server.unary<pb::CountersRequest, pb::CountersReply>(
        "/belay.test.grpc.Probe/Counters",
        [this](rpc::Call&, const pb::CountersRequest& request) { return counters(request); });
  }

  // Lets the calls of Hold end, now and from now on.
  void release() { released.fulfiller->fulfill(); }

 private:
  // Wakes the handlers of Counters that wait.
  class Changed {
   public:
    kj::Promise<void> next() {
      auto paf = kj::newPromiseAndFulfiller<void>();
      waiting.add(kj::mv(paf.fulfiller));
      return kj::mv(paf.promise);
    }
    void tell() {
      for (auto& fulfiller : waiting)
        fulfiller->fulfill();
      waiting.clear();
    }

   private:
    kj::Vector<kj::Own<kj::PromiseFulfiller<void>>> waiting;
  };

  rpc::Server& server;
  Changed changed;
  kj::PromiseFulfillerPair<void> released = kj::newPromiseAndFulfiller<void>();
  kj::ForkedPromise<void> whenReleased = released.promise.fork();
  uint32_t held = 0;
  uint32_t dropped = 0;
  uint64_t items = 0;

  static kj::Promise<pb::MetadataReply> metadata(rpc::Call& call) {
    pb::MetadataReply reply;
    for (auto& header : call.metadata()) {
      auto& entry = *reply.add_entries();
      entry.set_name(header.name.cStr());
      entry.set_value(rpc::sanitizeUtf8(header.value).cStr());
    }
    reply.set_time_left_ms(-1);
    KJ_IF_MAYBE (left, call.timeLeft()) {
      reply.set_time_left_ms(*left / kj::MILLISECONDS);
    }
    return kj::mv(reply);
  }

  static kj::Promise<pb::EchoReply> fail(rpc::Call& call, const pb::FailRequest& request) {
    for (auto& [name, value] : request.trailers())
      call.addTrailer(name.c_str(), value.c_str());
    call.fail(static_cast<rpc::Code>(request.code()), request.message().c_str());
  }

  kj::Promise<void> waitForRelease() {
    ++held;
    bool isDone = false;
    KJ_DEFER(if (!isDone) {
      ++dropped;
      changed.tell();
    });
    say("held");
    co_await whenReleased.addBranch();
    isDone = true;
  }

  kj::Promise<pb::EchoReply> hold() {
    co_await waitForRelease();
    pb::EchoReply reply;
    reply.set_payload("released");
    co_return kj::mv(reply);
  }

  kj::Promise<void> count(rpc::Call& call, const pb::CountRequest& request,
                          rpc::StreamWriter<pb::Item>& writer) {
    pb::Item item;
    item.set_payload(std::string(request.bytes_each(), 'i'));
    for (uint32_t i = 0; i < request.count(); ++i) {
      item.set_index(i);
      co_await writer.write(item);
      ++items;
    }
    if (request.code() != 0) {
      call.fail(static_cast<rpc::Code>(request.code()), request.message().c_str());
    }
  }

  kj::Promise<void> holdStream(rpc::StreamWriter<pb::Item>& writer) {
    co_await writer.write(pb::Item());
    co_await waitForRelease();
  }

  kj::Promise<pb::CountersReply> counters(const pb::CountersRequest& request) {
    while (dropped < request.wait_for_dropped())
      co_await changed.next();
    pb::CountersReply reply;
    reply.set_held(held);
    reply.set_dropped(dropped);
    reply.set_items(items);
    reply.set_connections(static_cast<uint32_t>(server.connectionCount()));
    co_return kj::mv(reply);
  }
};

kj::Promise<void> releaseOnSignal(kj::UnixEventPort& port, Probe& probe) {
  co_await port.onSignal(SIGUSR2);
  probe.release();
}

kj::Promise<void> acceptAll(kj::ConnectionReceiver& receiver, rpc::Server& server) {
  for (;;)
    server.accept(co_await receiver.accept());
}

void serve(kj::StringPtr path) {
  kj::UnixEventPort::captureSignal(SIGTERM);
  kj::UnixEventPort::captureSignal(SIGUSR2);
  auto io = kj::setupAsyncIo();

  rpc::Server server(io.provider->getTimer());
  Probe probe(server);
  probe.addTo();

  auto address = io.provider->getNetwork().parseAddress(kj::str("unix:", path)).wait(io.waitScope);
  auto receiver = address->listen();
  auto accepting = acceptAll(*receiver, server).eagerlyEvaluate([](kj::Exception&& e) {
    KJ_LOG(FATAL, "cannot accept", e);
  });
  auto releasing = releaseOnSignal(io.unixEventPort, probe);
  say("ready");

  io.unixEventPort.onSignal(SIGTERM).wait(io.waitScope);
  auto drained = server.drain();
  accepting = nullptr;
  receiver = nullptr;
  unlink(path.cStr());
  say("draining");
  drained.wait(io.waitScope);
}

}  // namespace

}  // namespace belay::test

int main(int argc, char* argv[]) {
  if (argc != 2) {
    fprintf(stderr, "usage: %s SOCKET\n", argv[0]);
    return 64;
  }
  belay::test::serve(argv[1]);
  return 0;
}
