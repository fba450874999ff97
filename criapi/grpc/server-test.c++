// Tests of how calls and connections live and end, down to HTTP/2. What regular clients see is
// tested with other people's clients in test/grpc.
#include "criapi/grpc/server-fixture.h"

namespace belay::criapi::grpc {

namespace {

TEST_F(ServerTest, AnswersAUnaryCall) {
  auto client = connect();
  auto id = client->call("/t.S/Echo", "hello");
  settle();
  auto& reply = client->reply(id);
  EXPECT_EQ(reply.headers[":status"], "200");
  EXPECT_EQ(reply.headers["content-type"], "application/grpc");
  EXPECT_EQ(reply.body, std::string("\0\0\0\0\5hello", 10));
  EXPECT_EQ(reply.status(), 0);
  EXPECT_TRUE(reply.isClosed);
  EXPECT_EQ(reports, std::vector<std::string>{"/t.S/Echo OK"});
}

TEST_F(ServerTest, RefusesWhatIsNoGrpcWithAnHttpStatus) {
  auto client = connect();
  auto headers = TestClient::headersOf("/t.S/Echo");
  headers[0].second = "PUT";
  auto put = client->call(headers, std::string());
  headers = TestClient::headersOf("/t.S/Echo");
  headers.back().second = "application/json";
  auto json = client->call(headers, std::string());
  headers.back().second = "application/grpcology";
  auto nearly = client->call(headers, std::string());
  headers.back().second = "application/grpc+proto";
  auto proto = client->call(headers, std::string(5, '\0'));
  settle();
  EXPECT_EQ(client->reply(put).headers[":status"], "405");
  EXPECT_EQ(client->reply(json).headers[":status"], "415");
  EXPECT_EQ(client->reply(nearly).headers[":status"], "415");
  EXPECT_EQ(client->reply(proto).status(), 0);
}

TEST_F(ServerTest, RefusesATimeoutItCannotRead) {
  auto client = connect();
  auto headers = TestClient::headersOf("/t.S/Hold");
  headers.emplace_back("grpc-timeout", "soon");
  auto id = client->call(headers, std::string(5, '\0'));
  settle();
  EXPECT_EQ(client->reply(id).status(), int(Code::INTERNAL));
  EXPECT_EQ(started, 0u);
}

// The reply is complete before the request: RST_STREAM tells the client to stop sending.
TEST_F(ServerTest, StopsARequestThatIsRefusedEarly) {
  auto client = connect();
  auto id = client->call(TestClient::headersOf("/t.S/Nothing"), nullptr);
  settle();
  EXPECT_EQ(client->reply(id).status(), int(Code::UNIMPLEMENTED));
  EXPECT_TRUE(client->reply(id).isClosed);
  EXPECT_EQ(client->reply(id).errorCode, 0u);
}

TEST_F(ServerTest, DropsTheHandlerAtTheDeadline) {
  auto client = connect();
  auto headers = TestClient::headersOf("/t.S/Hold");
  headers.emplace_back("grpc-timeout", "1500m");
  auto id = client->call(headers, std::string(5, '\0'));
  pass(1499 * kj::MILLISECONDS);
  EXPECT_EQ(started, 1u);
  EXPECT_EQ(dropped, 0u);
  pass(1 * kj::MILLISECONDS);
  EXPECT_EQ(dropped, 1u);
  EXPECT_EQ(client->reply(id).status(), int(Code::DEADLINE_EXCEEDED));
  EXPECT_EQ(reports, std::vector<std::string>{"/t.S/Hold DEADLINE_EXCEEDED"});
}

TEST_F(ServerTest, DropsTheHandlerAtTheDeadlineThoughTheClientDoesNotRead) {
  auto client = connect();
  settle();
  client->pause();
  client->ping();  // its answer is being written, and stays so
  settle();
  auto headers = TestClient::headersOf("/t.S/Hold");
  headers.emplace_back("grpc-timeout", "1S");
  client->call(headers, std::string(5, '\0'));
  pass(1 * kj::SECONDS);
  EXPECT_EQ(dropped, 1u);
}

TEST_F(ServerTest, KeepsTheDeadlineOfARequestThatNeverEnds) {
  auto client = connect();
  auto headers = TestClient::headersOf("/t.S/Echo");
  headers.emplace_back("grpc-timeout", "1S");
  auto id = client->call(headers, nullptr);
  pass(1 * kj::SECONDS);
  EXPECT_EQ(client->reply(id).status(), int(Code::DEADLINE_EXCEEDED));
}

// The client's window is full, so trailers could not get through: the stream is reset instead.
TEST_F(ServerTest, ResetsABlockedStreamAtTheDeadline) {
  auto client = connect();
  client->setWindow(10'000);
  auto headers = TestClient::headersOf("/t.S/Flood");
  headers.emplace_back("grpc-timeout", "1S");
  auto id = client->call(headers, std::string(5, '\0'));
  pass(1 * kj::SECONDS);
  EXPECT_TRUE(client->reply(id).isClosed);
  EXPECT_EQ(client->reply(id).errorCode, 8u);  // CANCEL
  EXPECT_EQ(reports, std::vector<std::string>{"/t.S/Flood DEADLINE_EXCEEDED"});
}

TEST_F(ServerTest, DropsTheHandlerOfAResetStream) {
  auto client = connect();
  auto id = client->call("/t.S/Hold", "");
  settle();
  EXPECT_EQ(started, 1u);
  client->reset(id);
  settle();
  EXPECT_EQ(dropped, 1u);
  EXPECT_EQ(reports, std::vector<std::string>{"/t.S/Hold CANCELLED"});
}

TEST_F(ServerTest, DropsTheHandlersOfALostConnection) {
  auto client = connect();
  client->call("/t.S/Hold", "");
  client->call("/t.S/Hold", "");
  settle();
  EXPECT_EQ(server().connectionCount(), 1u);
  client = nullptr;
  settle();
  EXPECT_EQ(dropped, 2u);
  EXPECT_EQ(server().connectionCount(), 0u);
  EXPECT_EQ(reports.size(), 2u);
}

TEST_F(ServerTest, AnswersPings) {
  auto client = connect();
  client->ping();
  settle();
  EXPECT_EQ(client->pongs, 1u);
}

TEST_F(ServerTest, DrainsAfterTheCallsInProgress) {
  auto client = connect();
  auto id = client->call("/t.S/Hold", "");
  settle();
  bool isDrained = false;
  auto drained = server().drain().then([&]() { isDrained = true; }).eagerlyEvaluate(nullptr);
  settle();
  ASSERT_EQ(client->goAways.size(), 2u);
  EXPECT_EQ(client->goAways[0].second, INT32_MAX);  // the announcement
  EXPECT_EQ(client->goAways[1].second, id);
  EXPECT_FALSE(isDrained);
  auto late = connect();
  settle();
  EXPECT_TRUE(late->isClosed);

  held[0]->fulfill();
  settle();
  EXPECT_EQ(client->reply(id).status(), 0);
  EXPECT_TRUE(client->isClosed);
  // A call that crosses the GOAWAY can be sent, to be made elsewhere: the client closes first.
  EXPECT_FALSE(isDrained);
  client->ping();
  client = nullptr;
  settle();
  EXPECT_TRUE(isDrained);
  server().drain().wait(waitScope);
}

TEST_F(ServerTest, DrainsThoughAClientDoesNotAnswerItsPing) {
  auto client = connect(TestClient::Pings::IGNORED);
  client->call("/t.S/Hold", "");
  settle();
  auto drained = server().drain();
  settle();
  EXPECT_EQ(client->goAways.size(), 1u);
  pass(1 * kj::SECONDS);
  EXPECT_EQ(client->goAways.size(), 2u);
  EXPECT_FALSE(drained.poll(waitScope));
  held[0]->fulfill();
  settle();
  EXPECT_FALSE(drained.poll(waitScope));
  pass(1 * kj::SECONDS);
  EXPECT_TRUE(drained.poll(waitScope));
}

TEST_F(ServerTest, TurnsAnyExceptionIntoAStatus) {
  auto client = connect();
  auto standard = client->call("/t.S/StdThrow", "");
  auto trailer = client->call("/t.S/BadTrailer", "");
  auto writes = client->call("/t.S/TwoWrites", "");
  settle();
  EXPECT_EQ(client->reply(standard).status(), int(Code::INTERNAL));
  EXPECT_NE(client->reply(standard).message().find("standard library"), std::string::npos);
  EXPECT_EQ(client->reply(trailer).status(), int(Code::INTERNAL));
  // Its first message was queued and is sent; the status comes after it.
  client->consume(writes, 1 << 20);
  EXPECT_EQ(reports.back(), "/t.S/TwoWrites INTERNAL");
}

TEST_F(ServerTest, RefusesToHaveAMethodTwice) {
  EXPECT_THROW(server().addUnary("/t.S/Echo",
                                 [](Call&, kj::ArrayPtr<const kj::byte>) {
                                   return kj::Promise<kj::Array<kj::byte>>(kj::Array<kj::byte>());
                                 }),
               kj::Exception);
}

}  // namespace

}  // namespace belay::criapi::grpc
