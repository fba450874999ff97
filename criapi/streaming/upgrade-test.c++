// Requests, good and bad.
#include "criapi/streaming/upgrade.h"

#include <gtest/gtest.h>

#include <string>

#include "criapi/streaming/session-fixture.h"

namespace belay::criapi::streaming {
namespace {

// The status of the answer: 101 or a refusal's.
unsigned statusOf(const std::string& head) {
  auto parsed = parseHead(kj::arrayPtr(head.data(), head.size()));
  if (parsed.is<Refusal>()) return parsed.get<Refusal>().status;
  auto upgrade = chooseUpgrade(parsed.get<RequestHead>());
  return upgrade.is<Refusal>() ? upgrade.get<Refusal>().status : 101;
}

const std::string SPDY = "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\n";
const std::string CHANNELS =
    "X-Stream-Protocol-Version: v5.channel.k8s.io\r\n"
    "X-Stream-Protocol-Version: v4.channel.k8s.io\r\n";
const std::string WEBSOCKET =
    "Connection: keep-alive, upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

std::string request(const std::string& line, const std::string& headers) {
  return line + " HTTP/1.1\r\nHost: a\r\n" + headers + "\r\n";
}

TEST(UpgradeTest, TakesWhatClientsSend) {
  EXPECT_EQ(statusOf(request("POST /exec/aB-_9", SPDY + CHANNELS)), 101);
  EXPECT_EQ(statusOf(request("GET /attach/a?x=y", SPDY + CHANNELS)), 101);
  EXPECT_EQ(statusOf(request("POST /portforward/a",
                             SPDY + "X-Stream-Protocol-Version: portforward.k8s.io\r\n")),
            101);
  EXPECT_EQ(
      statusOf(request("GET /exec/a", WEBSOCKET + "Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n")),
      101);
  EXPECT_EQ(
      statusOf(request("GET /portforward/a",
                       WEBSOCKET + "Sec-WebSocket-Protocol: SPDY/3.1+portforward.k8s.io\r\n")),
      101);
}

TEST(UpgradeTest, SaysWhatIsWrong) {
  EXPECT_EQ(statusOf(request("POST /exec/a", SPDY)), 400);
  EXPECT_EQ(statusOf(request("POST /exec/a", CHANNELS)), 400);
  EXPECT_EQ(statusOf(request("POST /exec/a", "Upgrade: SPDY/3.1\r\n" + CHANNELS)), 400);
  EXPECT_EQ(statusOf(request("POST /exec/a", SPDY + "X-Stream-Protocol-Version: v9\r\n")), 403);
  EXPECT_EQ(statusOf(request("POST /portforward/a", SPDY + CHANNELS)), 403);
  EXPECT_EQ(statusOf(request("GET /exec/a", WEBSOCKET)), 403);
  EXPECT_EQ(statusOf(request("PUT /exec/a", SPDY + CHANNELS)), 405);
  EXPECT_EQ(statusOf(request("POST /exec/a",
                             WEBSOCKET + "Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n")),
            405);
  for (const char* path :
       {"/", "/exec", "/exec/", "/exec/a/b", "/exec/a%2e", "/exec/a.b", "/other/a"})
    EXPECT_EQ(statusOf(request(std::string("GET ") + path, SPDY + CHANNELS)), 404) << path;
  EXPECT_EQ(statusOf(request("GET /exec/" + std::string(300, 'a'), SPDY + CHANNELS)), 404);
  EXPECT_EQ(statusOf("garbage\r\n\r\n"), 501);
  EXPECT_EQ(statusOf(request("GET /exec/a", "no colon\r\n")), 400);
  std::string lines;
  for (int i = 0; i < 200; ++i)
    lines += "Connection: Upgrade\r\n";
  EXPECT_EQ(statusOf(request("GET /exec/a", lines)), 431);
}

class UpgradeSessionTest : public SessionFixture {
 public:
  ~UpgradeSessionTest() noexcept override {}

 protected:
  const std::string good = request("POST /exec/abc", SPDY + CHANNELS);

  std::string answer() {
    auto text = readToEnd();
    client->shutdownWrite();
    wait(kj::mv(session));
    return text.substr(0, text.find("\r\n"));
  }
};

TEST_F(UpgradeSessionTest, AsksForNoTokenBeforeTheRequestIsGood) {
  start();
  send(request("POST /exec/abc", SPDY).c_str());
  EXPECT_EQ(answer(), "HTTP/1.1 400 Bad Request");
  EXPECT_TRUE(wait(daemon->receive()) == nullptr) << "the token was asked for";
}

TEST_F(UpgradeSessionTest, TellsOfUnknownTokens) {
  start();
  send(good.c_str());
  EXPECT_EQ(grant(Kind::EXEC, false, [](Grant::Builder grant) { grant.setUnknown(); }), "abc");
  EXPECT_EQ(answer(), "HTTP/1.1 404 Not Found");
}

TEST_F(UpgradeSessionTest, TellsThatTheDaemonWentAway) {
  start();
  send(good.c_str());
  wait(daemon->receive());
  daemon = nullptr;
  EXPECT_EQ(answer(), "HTTP/1.1 503 Service Unavailable");
}

TEST_F(UpgradeSessionTest, ReadsNoHeadWithoutEnd) {
  start();
  std::string endless(MAX_HEAD_BYTES, 'x');
  auto writing =
      client->write(endless.data(), endless.size()).eagerlyEvaluate([](kj::Exception&&) {});
  EXPECT_EQ(answer(), "HTTP/1.1 431 Request Header Fields Too Large");
}

TEST_F(UpgradeSessionTest, DoesNotWaitForEverForAHead) {
  settings.headTimeout = 10 * kj::MILLISECONDS;
  start();
  send("POST /exec/abc HT");
  EXPECT_EQ(answer(), "HTTP/1.1 408 Request Timeout");
}

}  // namespace
}  // namespace belay::criapi::streaming
