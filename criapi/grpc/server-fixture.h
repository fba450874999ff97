// What the server's unit tests share: a server with a few methods, on an event loop and a clock of
// the test's own.
#pragma once

#include <gtest/gtest.h>
#include <kj/debug.h>

#include <stdexcept>

#include "criapi/grpc/server.h"
#include "criapi/grpc/test-client.h"

namespace belay::criapi::grpc {

inline kj::Array<kj::byte> bytesOf(const std::string& text) {
  return kj::heapArray(reinterpret_cast<const kj::byte*>(text.data()), text.size());
}

class ServerTest : public ::testing::Test {
 protected:
  ~ServerTest() noexcept override {}

  kj::EventLoop loop;
  kj::WaitScope waitScope{loop};
  kj::TimerImpl timer{kj::origin<kj::TimePoint>()};
  Options options;
  kj::Maybe<kj::Own<Server>> maybeServer;

  uint32_t started = 0;
  uint32_t dropped = 0;
  uint32_t written = 0;
  kj::Vector<kj::Own<kj::PromiseFulfiller<void>>> held;
  std::vector<std::string> reports;

  Server& server() {
    KJ_IF_MAYBE (s, maybeServer) {
      return **s;
    }
    options.onCallEnd = [this](const CallReport& report) {
      reports.push_back(kj::str(report.path, " ", nameOf(report.code)).cStr());
    };
    auto& s = *maybeServer.emplace(kj::heap<Server>(timer, kj::mv(options)));
    s.addUnary("/t.S/Echo", [](Call&, kj::ArrayPtr<const kj::byte> request) {
      return kj::Promise<kj::Array<kj::byte>>(kj::heapArray(request));
    });
    s.addUnary("/t.S/Hold", [this](Call&, kj::ArrayPtr<const kj::byte>) { return hold(); });
    s.addUnary("/t.S/StdThrow",
               [](Call&, kj::ArrayPtr<const kj::byte>) -> kj::Promise<kj::Array<kj::byte>> {
                 throw std::runtime_error("of the standard library");
               });
    s.addUnary("/t.S/BadTrailer",
               [](Call& call, kj::ArrayPtr<const kj::byte>) -> kj::Promise<kj::Array<kj::byte>> {
                 call.addTrailer("grpc-status", "0");
                 return kj::Array<kj::byte>();
               });
    s.addStream("/t.S/Flood", [this](Call&, kj::ArrayPtr<const kj::byte>, MessageWriter& writer) {
      return flood(writer);
    });
    s.addStream(
        "/t.S/TwoWrites",
        [](Call&, kj::ArrayPtr<const kj::byte>, MessageWriter& writer) -> kj::Promise<void> {
          auto first = writer.write(kj::heapArray<kj::byte>(1 << 20));
          return writer.write(kj::heapArray<kj::byte>(1));
        });
    return s;
  }

  kj::Promise<kj::Array<kj::byte>> hold() {
    ++started;
    bool isDone = false;
    KJ_DEFER(if (!isDone)++ dropped);
    auto paf = kj::newPromiseAndFulfiller<void>();
    held.add(kj::mv(paf.fulfiller));
    co_await paf.promise;
    isDone = true;
    co_return bytesOf("held");
  }

  kj::Promise<void> flood(MessageWriter& writer) {
    for (; written < 100'000; ++written)
      co_await writer.write(kj::heapArray<kj::byte>(1000));
  }

  kj::Own<TestClient> connect(TestClient::Pings pings = TestClient::Pings::ANSWERED) {
    auto pipe = kj::newTwoWayPipe();
    server().accept(kj::mv(pipe.ends[0]));
    return kj::heap<TestClient>(kj::mv(pipe.ends[1]), pings);
  }

  // Runs everything that can run without time passing.
  void settle() {
    do {
      waitScope.poll();
      timer.advanceTo(timer.now());
      waitScope.poll();
    } while (isDue());
  }

  bool isDue() {
    KJ_IF_MAYBE (next, timer.nextEvent()) {
      return *next <= timer.now();
    }
    return false;
  }

  void pass(kj::Duration time) {
    settle();
    timer.advanceTo(timer.now() + time);
    settle();
  }
};

}  // namespace belay::criapi::grpc
