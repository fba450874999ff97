// Whole execs and attaches over SPDY.
#include "criapi/streaming/terminal-session.h"

#include <fcntl.h>

#include <nlohmann/json.hpp>

#include "criapi/streaming/session-fixture.h"

namespace belay::criapi::streaming {
namespace {

using nlohmann::json;

class TerminalSessionTest : public SpdyFixture {
 public:
  ~TerminalSessionTest() noexcept override {}

 protected:
  static constexpr uint32_t ERROR = 1, IN = 3, OUT = 5, ERR = 7, RESIZE = 9;

  void begin(Wanted wanted, Kind kind = Kind::EXEC) {
    upgrade(kind == Kind::EXEC ? "/exec/abc" : "/attach/abc",
            "v5.channel.k8s.io, v4.channel.k8s.io");
    grantTerminal(kind, wanted);
    auto head = readUntil("\r\n\r\n");
    EXPECT_NE(head.find("101 Switching Protocols"), std::string::npos) << head;
    EXPECT_NE(head.find("X-Stream-Protocol-Version: v4.channel.k8s.io\r\n"), std::string::npos);
    openStream(ERROR, "error");
    if (wanted.in) openStream(IN, "stdin");
    if (wanted.out) openStream(OUT, "stdout");
    if (wanted.err) openStream(ERR, "stderr");
    if (wanted.tty) openStream(RESIZE, "resize");
  }

  json status() { return json::parse(seen[ERROR].data); }
};

TEST_F(TerminalSessionTest, SendsOutputThenStatusThenGoodbye) {
  Wanted wanted{.out = true, .err = true};
  begin(wanted);
  startProcess(wanted);
  writeAll(processOut, "to out");
  writeAll(processErr, "to err");
  exited(0);
  processOut = nullptr;
  processErr = nullptr;
  untilClosed();
  EXPECT_EQ(seen[OUT].data, "to out");
  EXPECT_EQ(seen[ERR].data, "to err");
  EXPECT_TRUE(seen[OUT].ended && seen[ERR].ended && seen[ERROR].ended);
  EXPECT_EQ(status()["status"], "Success");
  EXPECT_TRUE(goneAway);
}

TEST_F(TerminalSessionTest, TellsExitCodes) {
  Wanted wanted;
  begin(wanted);
  startProcess(wanted);
  processOut = nullptr;
  exited(137);
  untilClosed();
  EXPECT_EQ(status()["status"], "Failure");
  EXPECT_EQ(status()["reason"], "NonZeroExitCode");
  EXPECT_EQ(status()["details"]["causes"],
            json::parse(R"([{"reason":"ExitCode","message":"137"}])"));
}

TEST_F(TerminalSessionTest, GivesInputToTheProcessAndEndsIt) {
  Wanted wanted{.in = true};
  begin(wanted);
  // Before there is a process to take it.
  sendBytes(data(IN, "early "));
  startProcess(wanted);
  sendBytes(data(IN, "late", true));
  EXPECT_EQ(readFd(processIn, 100), "early late");
  processOut = nullptr;
  exited(0);
  untilClosed();
  EXPECT_TRUE(seen[IN].ended);
}

TEST_F(TerminalSessionTest, PassesTheFailureToStartOn) {
  Wanted wanted;
  begin(wanted);
  fromSession();
  fromShim([](shim::FromShim::Builder message) {
    message.initFailed().setMessage("there is no \"nope\"");
  });
  untilClosed();
  EXPECT_EQ(status()["reason"], "InternalError");
  EXPECT_EQ(status()["message"], "Internal error occurred: there is no \"nope\"");
}

TEST_F(TerminalSessionTest, DoesNotWaitForOutputThatNobodyEnds) {
  settings.quietTimeout = 20 * kj::MILLISECONDS;
  Wanted wanted;
  begin(wanted);
  startProcess(wanted);
  writeAll(processOut, "before the end");
  exited(0);
  // Something that outlives the process keeps its pipe open.
  untilClosed();
  EXPECT_EQ(seen[OUT].data, "before the end");
  EXPECT_EQ(status()["status"], "Success");
}

TEST_F(TerminalSessionTest, TellsThatTheShimWentAway) {
  Wanted wanted;
  begin(wanted);
  startProcess(wanted);
  processOut = nullptr;
  shimSocket = nullptr;
  untilClosed();
  EXPECT_EQ(status()["reason"], "InternalError");
}

TEST_F(TerminalSessionTest, LetsGoOfTheProcessWhenTheClientLeaves) {
  Wanted wanted{.in = true};
  begin(wanted);
  startProcess(wanted);
  client = nullptr;
  EXPECT_EQ(readFd(processIn, 1), "");
  wait(kj::mv(session));
  EXPECT_TRUE(wait(shimSocket->receive()) == nullptr);
}

TEST_F(TerminalSessionTest, TellsTheShimOfAnAttachThatItsInputHasEnded) {
  Wanted wanted{.in = true, .exitCode = false};
  begin(wanted, Kind::ATTACH);
  startProcess(wanted);
  sendBytes(data(IN, "last", true));
  EXPECT_TRUE(fromSession()->as<shim::ToShim>().isStdinEnded());
  EXPECT_EQ(readFd(processIn, 10), "last");
  // What the container exited with is not an attach's business.
  processOut = nullptr;
  exited(7);
  untilClosed();
  EXPECT_EQ(status()["status"], "Success");
}

TEST_F(TerminalSessionTest, SaysWhyItWasCut) {
  Wanted wanted{.exitCode = false};
  begin(wanted, Kind::ATTACH);
  startProcess(wanted);
  writeAll(processOut, "some");
  processOut = nullptr;
  fromShim([](shim::FromShim::Builder message) { message.setCut("you were too slow"); });
  untilClosed();
  EXPECT_EQ(seen[OUT].data, "some");
  EXPECT_EQ(status()["message"], "Internal error occurred: you were too slow");
}

TEST_F(TerminalSessionTest, SendsSizesBeforeAndAfterTheStart) {
  Wanted wanted{.in = true, .tty = true};
  begin(wanted);
  EXPECT_TRUE(fromSession()->as<shim::ToShim>().isStart());
  sendBytes(data(RESIZE, R"({"Width":80,"Height":24}{"Wid)"));
  auto first = fromSession();
  EXPECT_EQ(first->as<shim::ToShim>().getResize().getColumns(), 80);
  sendBytes(data(RESIZE, R"(th":132,"Height":50} nonsense {"Width":0,"Height":1})"));
  auto second = fromSession();
  EXPECT_EQ(second->as<shim::ToShim>().getResize().getColumns(), 132);
  EXPECT_EQ(second->as<shim::ToShim>().getResize().getRows(), 50);
}

TEST_F(TerminalSessionTest, TellsWhyAGoodTokenIsRefused) {
  settings.quietTimeout = 20 * kj::MILLISECONDS;
  upgrade("/exec/abc", "v4.channel.k8s.io");
  grant(Kind::EXEC, false,
        [](Grant::Builder grant) { grant.setRefused("the container has ended"); });
  readUntil("\r\n\r\n");
  openStream(ERROR, "error");
  until([&]() { return seen[ERROR].ended; });
  EXPECT_EQ(status()["message"], "Internal error occurred: the container has ended");
  untilClosed();
}

}  // namespace
}  // namespace belay::criapi::streaming
