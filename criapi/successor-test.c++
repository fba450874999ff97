// Tests of successor.h: calls of one server answered by another, over a socket pair.
#include "criapi/successor.h"

#include <gtest/gtest.h>

#include "criapi/grpc/server-fixture.h"

namespace belay::criapi {

namespace {

class Collector final : public grpc::MessageWriter {
 public:
  std::vector<std::string> messages;
  kj::Promise<void> write(kj::Array<kj::byte> message) override {
    messages.emplace_back(message.asChars().begin(), message.size());
    return kj::READY_NOW;
  }
};

TEST(Successor, AnswersForTheOneBefore) {
  auto io = kj::setupAsyncIo();
  auto& timer = io.provider->getTimer();
  grpc::Server server(timer);
  server.addUnary("/s/Echo", [](grpc::Call&, kj::ArrayPtr<const kj::byte> request) {
    return kj::Promise<kj::Array<kj::byte>>(kj::heapArray(request));
  });
  server.addUnary(
      "/s/Fail",
      [](grpc::Call& call, kj::ArrayPtr<const kj::byte>) -> kj::Promise<kj::Array<kj::byte>> {
        call.fail(grpc::Code::NOT_FOUND, "not there");
      });
  uint waiting = 0;
  server.addUnary(
      "/s/Hang",
      [&](grpc::Call&, kj::ArrayPtr<const kj::byte>) -> kj::Promise<kj::Array<kj::byte>> {
        ++waiting;
        KJ_DEFER(--waiting);
        co_await kj::Promise<void>(kj::NEVER_DONE);
        co_return nullptr;
      });
  server.addStream("/s/Count",
                   [](grpc::Call&, kj::ArrayPtr<const kj::byte>,
                      grpc::MessageWriter& writer) -> kj::Promise<void> {
                     for (int i = 0; i < 3; ++i)
                       co_await writer.write(grpc::bytesOf(std::to_string(i)));
                   });

  auto pipe = io.provider->newCapabilityPipe();
  auto relay = kj::heap<SuccessorRelay>(kj::mv(pipe.ends[0]));
  // Asked before there is anybody.
  auto echo = relay->unary("/s/Echo", grpc::bytesOf("hello"));
  auto serving = serveSuccessor(kj::mv(pipe.ends[1]), server, "1.2.3");
  auto reply = echo.wait(io.waitScope);
  EXPECT_TRUE(reply.status.isOk());
  EXPECT_EQ("hello", std::string(reply.message.asChars().begin(), reply.message.size()));
  EXPECT_EQ("1.2.3", relay->version().wait(io.waitScope));

  auto refused = relay->unary("/s/Fail", nullptr).wait(io.waitScope);
  EXPECT_EQ(grpc::Code::NOT_FOUND, refused.status.code);
  EXPECT_EQ("not there", refused.status.message);

  Collector collector;
  EXPECT_TRUE(relay->stream("/s/Count", nullptr, collector).wait(io.waitScope).isOk());
  EXPECT_EQ((std::vector<std::string>{"0", "1", "2"}), collector.messages);

  {
    auto hanging = relay->unary("/s/Hang", nullptr);
    relay->unary("/s/Echo", nullptr).wait(io.waitScope);
    EXPECT_EQ(1u, waiting);
  }
  relay->unary("/s/Echo", nullptr).wait(io.waitScope);
  EXPECT_EQ(0u, waiting);

  relay = nullptr;
  serving.wait(io.waitScope);
}

}  // namespace

}  // namespace belay::criapi
