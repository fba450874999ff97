// Tests of calls that a server leaves to another: Server::relayTo and its other end, Server::call.
#include "criapi/grpc/server-fixture.h"

namespace belay::criapi::grpc {

namespace {

// Answers as the other process would.
class FakeRelay final : public CallRelay {
 public:
  std::vector<std::string> asked;
  kj::Maybe<Status> refusal;

  kj::Promise<Reply> unary(kj::StringPtr path, kj::ArrayPtr<const kj::byte> request) override {
    note(path, request);
    KJ_IF_MAYBE (status, refusal) {
      return Reply{Status{status->code, kj::str(status->message)}, nullptr};
    }
    return Reply{Status{}, bytesOf("relayed")};
  }

  kj::Promise<Status> stream(kj::StringPtr path, kj::ArrayPtr<const kj::byte> request,
                             MessageWriter& writer) override {
    note(path, request);
    co_await writer.write(bytesOf("one"));
    co_await writer.write(bytesOf("two"));
    co_return Status{};
  }

 private:
  void note(kj::StringPtr path, kj::ArrayPtr<const kj::byte> request) {
    asked.push_back(std::string(path.cStr()) + " " +
                    std::string(request.asChars().begin(), request.size()));
  }
};

class RelayTest : public ServerTest {
 protected:
  ~RelayTest() noexcept override {}
  FakeRelay relay;

  std::string textOf(const kj::Array<kj::byte>& bytes) {
    return std::string(bytes.asChars().begin(), bytes.size());
  }
};

TEST_F(RelayTest, CallsInProgressAreAskedElsewhere) {
  auto client = connect();
  auto held = client->call("/t.S/Hold", "request");
  settle();
  ASSERT_EQ(1u, started);
  server().relayTo(relay);
  settle();
  EXPECT_EQ(1u, dropped);
  EXPECT_EQ(std::vector<std::string>{"/t.S/Hold request"}, relay.asked);
  EXPECT_EQ(0, client->reply(held).status());
  EXPECT_EQ(std::string("\0\0\0\0\7relayed", 12), client->reply(held).body);
}

TEST_F(RelayTest, CallsThatMustNotBeRepeatedGoOn) {
  server().addUnary(
      "/t.S/Once", [this](Call&, kj::ArrayPtr<const kj::byte>) { return hold(); }, OnRelay::FINISH);
  auto client = connect();
  auto once = client->call("/t.S/Once", "");
  settle();
  server().relayTo(relay);
  settle();
  held[0]->fulfill();
  settle();
  EXPECT_EQ(std::string("\0\0\0\0\4held", 9), client->reply(once).body);
  EXPECT_TRUE(relay.asked.empty());
  // A new one is another matter.
  client->call("/t.S/Once", "again");
  settle();
  EXPECT_EQ(std::vector<std::string>{"/t.S/Once again"}, relay.asked);
}

TEST_F(RelayTest, ARequestThatWasNotCompleteIsRelayed) {
  auto client = connect();
  auto headers = TestClient::headersOf("/t.S/Echo");
  auto first = client->call(headers, nullptr);
  settle();
  server().relayTo(relay);
  auto second = client->call("/t.S/Echo", "late");
  settle();
  EXPECT_EQ(std::vector<std::string>{"/t.S/Echo late"}, relay.asked);
  EXPECT_EQ(0, client->reply(second).status());
  client->send(first, "early");
  settle();
  EXPECT_EQ("/t.S/Echo early", relay.asked.back());
  EXPECT_EQ(0, client->reply(first).status());
}

TEST_F(RelayTest, RefusalsAndStreamsAreRelayed) {
  server().relayTo(relay);
  relay.refusal = Status{Code::NOT_FOUND, kj::str("no such pod")};
  auto client = connect();
  auto refused = client->call("/t.S/Echo", "");
  auto stream = client->call("/t.S/Flood", "");
  auto unknown = client->call("/t.S/Nothing", "");
  settle();
  EXPECT_EQ(int(Code::NOT_FOUND), client->reply(refused).status());
  EXPECT_EQ("no such pod", client->reply(refused).message());
  EXPECT_EQ(std::string("\0\0\0\0\3one\0\0\0\0\3two", 16), client->reply(stream).body);
  EXPECT_EQ(0, client->reply(stream).status());
  EXPECT_EQ(int(Code::UNIMPLEMENTED), client->reply(unknown).status());
  EXPECT_EQ(2u, relay.asked.size());
}

TEST_F(RelayTest, TheOtherEndMakesCallsOfItsOwn) {
  auto echo = server().call("/t.S/Echo", bytesOf("hello"));
  settle();
  ASSERT_TRUE(echo.poll(waitScope));
  EXPECT_EQ("hello", textOf(echo.wait(waitScope).message));
  auto thrown = server().call("/t.S/StdThrow", nullptr);
  settle();
  EXPECT_EQ(Code::INTERNAL, thrown.wait(waitScope).status.code);
  for (auto path : {"/t.S/Nothing", "/t.S/Flood"}) {
    EXPECT_EQ(Code::UNIMPLEMENTED, server().call(path, nullptr).wait(waitScope).status.code);
  }
  {
    auto givenUp = server().call("/t.S/Hold", nullptr);
    settle();
    EXPECT_EQ(1u, started);
  }
  EXPECT_EQ(1u, dropped);
}

// A third process comes before the second one is done.
TEST_F(RelayTest, CallsFromWithinAreRelayedToo) {
  auto call = server().call("/t.S/Hold", bytesOf("request"));
  settle();
  server().relayTo(relay);
  settle();
  EXPECT_EQ("relayed", textOf(call.wait(waitScope).message));
  EXPECT_EQ(1u, dropped);
}

}  // namespace

}  // namespace belay::criapi::grpc
