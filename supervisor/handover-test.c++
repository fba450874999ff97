// Tests of handover.h: what a belayd may take over, and how another program is tried.
#include "supervisor/handover.h"

#include <gtest/gtest.h>
#include <kj/async-io.h>
#include <kj/async-unix.h>
#include <kj/debug.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "snapshot/failure.h"
#include "supervisor/database.h"

namespace belay::supervisor {
namespace {

class HandoverTest : public testing::Test {
 protected:
  HandoverTest() : handover(message.initRoot<Handover>()) {
    config.listen = kj::str("unix:///run/belay/belay.sock");
    handover.setDatabaseLayout(Database::LAYOUT_VERSION);
    handover.setRoot(config.root);
    handover.setState(config.state);
    handover.setListen(config.listen);
    handover.setCgroupRoot(config.cgroupRoot);
    handover.setStreamingAddress("127.0.0.1:40123");
  }
  ~HandoverTest() noexcept override {}

  Config config;
  capnp::MallocMessageBuilder message;
  Handover::Builder handover;

  std::string refusal() {
    KJ_IF_MAYBE (exception,
                 kj::runCatchingExceptions([&] { requireAcceptable(handover, config); })) {
      EXPECT_EQ(snapshot::Code::FAILED_PRECONDITION, snapshot::codeOf(*exception));
      return snapshot::messageOf(*exception).cStr();
    }
    return "";
  }
};

TEST_F(HandoverTest, TheSameConfigurationTakesOver) {
  EXPECT_EQ("", refusal());
}

TEST_F(HandoverTest, WhatIsHandedOverMustFitTheConfiguration) {
  auto refused = [&](auto& setting, kj::StringPtr value, const char* name) {
    auto before = kj::mv(setting);
    setting = kj::str(value);
    EXPECT_EQ(0u, refusal().find(name)) << refusal();
    setting = kj::mv(before);
  };
  refused(config.root, "/other", "root is /other");
  refused(config.state, "/other", "state is /other");
  refused(config.listen, "unix:///other", "listen is unix:///other");
  refused(config.cgroupRoot, "other", "cgroup_root is other");
  refused(config.streamingAddress, "127.0.0.1:40124", "streaming.address is 127.0.0.1:40124");
}

TEST_F(HandoverTest, AnOlderProgramLeavesANewerDatabaseAlone) {
  handover.setDatabaseLayout(Database::LAYOUT_VERSION + 1);
  EXPECT_NE(std::string::npos, refusal().find("it is older"));
}

TEST_F(HandoverTest, AProgramIsAskedBeforeItTakesOver) {
  kj::UnixEventPort::captureSignal(SIGCHLD);
  auto io = kj::setupAsyncIo();
  snapshot::Children children(io.unixEventPort);
  auto folder = kj::str(testing::TempDir().c_str(), "/handover-XXXXXX");
  KJ_ASSERT(mkdtemp(folder.begin()) != nullptr);
  auto attempt = [&](kj::StringPtr name, kj::StringPtr script) -> std::string {
    auto path = kj::str(folder, '/', name);
    std::ofstream(path.cStr()) << script.cStr();
    KJ_SYSCALL(chmod(path.cStr(), 0755));
    auto arguments = kj::arr(kj::str("--flag"));
    KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&] {
                   tryNext(children, io.provider->getTimer(), path, arguments, handover)
                       .wait(io.waitScope);
                 })) {
      return snapshot::messageOf(*exception).cStr();
    }
    return "";
  };
  // It gets the flags, the word, and the message as the descriptor that the variable names.
  EXPECT_EQ("", attempt("good",
                        "#!/bin/sh\n[ \"$*\" = '--flag check-handover' ] || exit 1\n"
                        "grep -q 127.0.0.1:40123 /proc/self/fd/$BELAY_HANDOVER || exit 2\n"
                        "echo belayd 9 can take over\n"));
  EXPECT_NE(std::string::npos,
            attempt("bad", "#!/bin/sh\necho no >&2\nexit 3\n").find("exit code 3"));
  EXPECT_NE(std::string::npos, attempt("silent", "#!/bin/sh\n").find("cannot take over"));
  EXPECT_NE(std::string::npos, attempt("text", "no program").find("cannot start"));
}

}  // namespace
}  // namespace belay::supervisor
