// What clients do to SPDY, by mistake and on purpose.
#include "criapi/streaming/spdy-connection.h"

#include "criapi/streaming/session-fixture.h"

namespace belay::criapi::streaming {
namespace {

constexpr uint32_t PROTOCOL_ERROR = 1, INVALID_STREAM = 2, REFUSED_STREAM = 3;

class SpdyConnectionTest : public SpdyFixture {
 public:
  ~SpdyConnectionTest() noexcept override {}

 protected:
  void begin(const std::string& early = "") {
    start();
    sendBytes(
        "POST /exec/abc HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
        "Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n" +
        early);
    grantTerminal(Kind::EXEC, {.in = true});
    readUntil("\r\n\r\n");
  }
};

TEST_F(SpdyConnectionTest, TakesBytesThatCameWithTheHead) {
  begin(synStream(1, {{"streamtype", "error"}}));
  until([&]() { return seen[1].replied; });
}

TEST_F(SpdyConnectionTest, TakesBytesOneByOne) {
  begin();
  auto bytes = synStream(1, {{"streamtype", "error"}}) + synStream(3, {{"streamtype", "stdin"}}) +
               data(3, "hello", true) + synStream(5, {{"streamtype", "stdout"}});
  for (char byte : bytes)
    sendBytes(std::string(1, byte));
  startProcess({.in = true});
  EXPECT_EQ(readFd(processIn, 10), "hello");
}

TEST_F(SpdyConnectionTest, AnswersTheClientsPingsOnly) {
  begin();
  sendBytes(control(6, 0, be32(2)) + control(6, 0, be32(7)));
  until([&]() { return !pongs.empty(); });
  EXPECT_EQ(pongs, std::vector<uint32_t>{7});
}

TEST_F(SpdyConnectionTest, RefusesStreamsAndStillReadsTheirHeaders) {
  begin();
  sendBytes(synStream(1, {{"streamtype", "stderr"}, {"x", std::string(500, 'y')}}));
  openStream(3, "error");
  openStream(5, "error");
  EXPECT_EQ(seen[1].resetStatus, REFUSED_STREAM);
  EXPECT_TRUE(seen[3].replied);
  EXPECT_EQ(seen[5].resetStatus, REFUSED_STREAM);
}

TEST_F(SpdyConnectionTest, ResetsStreamsWithIdsThatAreNotTheirs) {
  begin();
  openStream(5, "error");
  for (uint32_t id : {5, 3, 4}) {
    sendBytes(synStream(id, {{"streamtype", "stdin"}}));
    until([&]() { return seen[id].reset; });
    EXPECT_EQ(seen[id].resetStatus, PROTOCOL_ERROR);
  }
  sendBytes(data(99, "for nobody"));
  until([&]() { return seen[99].reset; });
  EXPECT_EQ(seen[99].resetStatus, INVALID_STREAM);
}

TEST_F(SpdyConnectionTest, ResetsStreamsWithWrongHeaders) {
  begin();
  uint32_t id = 1;
  for (const HeaderList& headers :
       {HeaderList{{"StreamType", "error"}}, HeaderList{{"", "error"}},
        HeaderList{{"a", "1"}, {"a", "2"}}, HeaderList(1001, {"a", ""})}) {
    sendBytes(synStream(id, headers));
    until([&]() { return seen[id].reset; });
    EXPECT_EQ(seen[id].resetStatus, PROTOCOL_ERROR);
    id += 2;
  }
  openStream(id, "error");
  EXPECT_TRUE(seen[id].replied);
}

TEST_F(SpdyConnectionTest, EndsWithABlockThatGrowsTooMuch) {
  begin();
  sendBytes(synStream(1, {{"streamtype", std::string(10 << 20, 'x')}}));
  until([&]() { return goneAway; });
  EXPECT_EQ(goAwayStatus, PROTOCOL_ERROR);
  untilClosed();
}

TEST_F(SpdyConnectionTest, EndsWithWhatIsNoSpdy) {
  begin();
  sendBytes(be32(0x80040001) + be32(4) + "1234");
  until([&]() { return goneAway; });
  EXPECT_EQ(goAwayStatus, PROTOCOL_ERROR);
}

TEST_F(SpdyConnectionTest, PassesOverWhatItNeedNotKnow) {
  begin();
  sendBytes(control(4, 0, std::string(100000, '\0')) + control(9, 0, be32(1) + be32(1)) +
            control(77, 0, "future"));
  openStream(1, "error");
  EXPECT_TRUE(seen[1].replied);
}

TEST_F(SpdyConnectionTest, EndsTheSessionWhenStreamsDoNotCome) {
  settings.streamTimeout = 10 * kj::MILLISECONDS;
  begin(synStream(1, {{"streamtype", "error"}}));
  until([&]() { return seen[1].ended; });
  EXPECT_NE(seen[1].data.find("did not open all streams"), std::string::npos) << seen[1].data;
  untilClosed();
}

TEST_F(SpdyConnectionTest, EndsAnIdleSessionWhosePingsGoOn) {
  settings.idleTimeout = 300 * kj::MILLISECONDS;
  begin(synStream(1, {{"streamtype", "error"}}));
  while (!closed && !goneAway) {
    sendBytes(control(6, 0, be32(1)));
    size_t before = pongs.size();
    until([&]() { return pongs.size() > before || goneAway; });
  }
  EXPECT_TRUE(goneAway);
}

}  // namespace
}  // namespace belay::criapi::streaming
