// Tests of helper-home.h with real cgroups, below a root of their own. They need root.
#include "supervisor/helper-home.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <kj/async-io.h>
#include <kj/debug.h>
#include <unistd.h>

namespace belay::supervisor {
namespace {

class HelperHomeTest : public testing::Test {
 public:
  ~HelperHomeTest() noexcept override = default;

 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root: cgroups are made";
    KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&] { cgroups = kj::heap<Cgroups>(root); })) {
      GTEST_SKIP() << "needs cgroups: " << exception->getDescription().cStr();
    }
  }
  void TearDown() override {
    if (cgroups.get() != nullptr) cgroups->destroy(kj::str(root), timer()).wait(io.waitScope);
  }

  kj::Timer& timer() { return io.provider->getTimer(); }
  kj::String path() { return kj::str(root, "/cni"); }

  // A shell that has started another process in a session of its own, and tells its pid.
  kj::Own<snapshot::Child> startPair(HelperHome& home, pid_t& descendant) {
    int ends[2];
    KJ_SYSCALL(pipe2(ends, O_CLOEXEC));
    kj::AutoCloseFd readEnd(ends[0]), writeEnd(ends[1]);
    snapshot::Command command;
    command.path = kj::str("/bin/sh");
    command.argv = kj::arr(kj::str("sh"), kj::str("-c"),
                           kj::str("setsid sh -c 'echo $$; exec sleep 1000' & sleep 1000"));
    command.env = kj::arr(kj::str("PATH=/usr/bin:/bin"));
    command.descriptors.add(snapshot::Command::Descriptor{STDOUT_FILENO, writeEnd});
    home.open();
    home.receive(command);
    auto child = children.spawn(command, snapshot::Child::OnDrop::KILL);
    char text[32] = {};
    ssize_t size;
    KJ_SYSCALL(size = read(readEnd, text, sizeof(text) - 1));
    descendant = atoi(text);
    return child;
  }

  kj::AsyncIoContext io = kj::setupAsyncIo();
  snapshot::Children children{io.unixEventPort};
  kj::String root = kj::str("belay-helper-home-test-", getpid());
  kj::Own<Cgroups> cgroups;
};

TEST_F(HelperHomeTest, OfAFirstBelaydIsFree) {
  HelperHome home(*cgroups, path(), timer());
  EXPECT_TRUE(home.whenFree().poll(io.waitScope));
}

TEST_F(HelperHomeTest, OfASuccessorIsFreeOnceAllOfTheFormerAreDead) {
  HelperHome former(*cgroups, path(), timer());
  pid_t descendant = 0;
  auto child = startPair(former, descendant);
  ASSERT_EQ(0, kill(descendant, 0));

  HelperHome home(*cgroups, path(), timer());
  home.whenFree().wait(io.waitScope);
  EXPECT_EQ(SIGKILL, child->wait().wait(io.waitScope).signal);
  EXPECT_FALSE(cgroups->hasProcess(kj::str(path(), "/0")));
  EXPECT_FALSE(cgroups->exists(kj::str(path(), "/0")));
}

TEST_F(HelperHomeTest, ItsOwnHelpersAreNotTakenForTheFormers) {
  HelperHome former(*cgroups, path(), timer());
  pid_t first = 0, second = 0;
  auto dying = startPair(former, first);
  HelperHome home(*cgroups, path(), timer());
  auto living = startPair(home, second);
  home.whenFree().wait(io.waitScope);
  EXPECT_EQ(0, kill(second, 0));
  EXPECT_FALSE(living->wait().poll(io.waitScope));
  EXPECT_TRUE(cgroups->exists(kj::str(path(), "/1")));
}

}  // namespace
}  // namespace belay::supervisor
