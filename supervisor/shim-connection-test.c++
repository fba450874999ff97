// Tests of shim-connection.h against a fake shim: meeting, news, redialling, death.
#include "supervisor/shim-connection.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <kj/debug.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shim/file-server.h"
#include "snapshot/failure.h"
#include "supervisor/fake-shim.h"

namespace belay::supervisor {
namespace {

class News final : public ShimConnection::Observer {
 public:
  void containerChanged(shim::ContainerState::Reader state) override {
    changes.add(kj::str(state.getId(), ' ', static_cast<int>(state.getStage())));
  }
  void shimDied() override { ++deaths; }

  kj::Vector<kj::String> changes;
  int deaths = 0;
};

class ShimConnectionTest : public testing::Test {
 public:
  ShimConnectionTest() {
    auto pattern = kj::str(testing::TempDir().c_str(), "/shim-XXXXXX");
    KJ_ASSERT(mkdtemp(pattern.begin()) != nullptr);
    path = kj::mv(pattern);
    int fd;
    KJ_SYSCALL(fd = open(path.cStr(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    folder = kj::AutoCloseFd(fd);
    connection = newConnection();
  }
  ~ShimConnectionTest() noexcept override = default;

 protected:
  kj::Own<ShimConnection> newConnection() {
    return kj::heap<ShimConnection>(*io.lowLevelProvider, io.unixEventPort, io.provider->getTimer(),
                                    folder, held, news);
  }
  snapshot::Code codeOfConnect() {
    auto exception = KJ_ASSERT_NONNULL(
        kj::runCatchingExceptions([&] { connection->connect().wait(io.waitScope); }));
    return snapshot::codeOf(exception);
  }
  template <typename Condition>
  void waitUntil(Condition&& condition) {
    auto deadline = io.provider->getTimer().now() + 20 * kj::SECONDS;
    while (!condition()) {
      ASSERT_LT(io.provider->getTimer().now(), deadline);
      io.provider->getTimer().afterDelay(1 * kj::MILLISECONDS).wait(io.waitScope);
    }
  }

  kj::AsyncIoContext io = kj::setupAsyncIo();
  kj::String path;
  kj::AutoCloseFd folder;
  News news;
  HeldDescriptors held;
  kj::Own<ShimConnection> connection;
};

TEST_F(ShimConnectionTest, LearnsWhatHappenedBefore) {
  FakeShim fake(*io.lowLevelProvider, path);
  fake.containers.add(stateOf("a", shim::Stage::RUNNING));
  fake.containers.add(stateOf("b", shim::Stage::EXITED, 3));
  EXPECT_FALSE(connection->wasReached());
  connection->connect().wait(io.waitScope);
  EXPECT_TRUE(connection->isConnected());
  EXPECT_TRUE(connection->wasReached());
  ASSERT_EQ(2u, news.changes.size());
  EXPECT_STREQ("a 1", news.changes[0].cStr());
  EXPECT_STREQ("b 2", news.changes[1].cStr());
}

TEST_F(ShimConnectionTest, HearsNews) {
  FakeShim fake(*io.lowLevelProvider, path);
  connection->connect().wait(io.waitScope);
  ASSERT_EQ(1u, fake.watchers.size());
  auto request = fake.watchers[0].changedRequest();
  request.setState(stateOf("c", shim::Stage::CREATED).get());
  request.send().wait(io.waitScope);
  ASSERT_EQ(1u, news.changes.size());
  EXPECT_STREQ("c 0", news.changes[0].cStr());
}

TEST_F(ShimConnectionTest, KeepsDuplicatesOfDescriptors) {
  FakeShim fake(*io.lowLevelProvider, path);
  int pipe[2];
  KJ_SYSCALL(pipe2(pipe, O_CLOEXEC));
  kj::AutoCloseFd readEnd(pipe[0]), writeEnd(pipe[1]);
  fake.descriptor = readEnd;
  fake.descriptorNames.add(kj::str("c1/stdout"));
  connection->connect().wait(io.waitScope);
  int kept = KJ_ASSERT_NONNULL(held.find("c1/stdout"));
  KJ_SYSCALL(write(writeEnd, "x", 1));
  char byte = 0;
  KJ_SYSCALL(read(kept, &byte, 1));
  EXPECT_EQ('x', byte);
  EXPECT_TRUE(fcntl(kept, F_GETFD) & FD_CLOEXEC);
  held.releaseAllOf("c1");
  EXPECT_TRUE(held.find("c1/stdout") == nullptr);
  EXPECT_EQ(-1, fcntl(kept, F_GETFD));
}

TEST_F(ShimConnectionTest, LetsGoOfWhatWasReleasedMeanwhile) {
  FakeShim fake(*io.lowLevelProvider, path);
  connection->connect().wait(io.waitScope);
  int pipe[2];
  KJ_SYSCALL(pipe2(pipe, O_CLOEXEC));
  kj::AutoCloseFd readEnd(pipe[0]), writeEnd(pipe[1]);
  auto copy = [&] { return kj::AutoCloseFd(fcntl(readEnd, F_DUPFD_CLOEXEC, 0)); };
  held.keep("c1/stdin", copy());
  held.keep("c1/stdout", copy());
  held.keep("c2/stdin", copy());
  auto request = fake.watchers[0].descriptorsRequest();
  auto list = request.initDescriptors(1);
  list[0].setName("c1/stdout");
  list[0].setFile(kj::heap<shim::FileServer>(copy()));
  request.send().wait(io.waitScope);
  EXPECT_TRUE(held.find("c1/stdin") == nullptr);
  EXPECT_TRUE(held.find("c1/stdout") != nullptr);
  EXPECT_TRUE(held.find("c2/stdin") != nullptr);
}

TEST_F(ShimConnectionTest, NoSocketMeansDead) {
  EXPECT_EQ(snapshot::Code::NOT_FOUND, codeOfConnect());
  {
    FakeShim fake(*io.lowLevelProvider, path);
  }
  // The file is there, and nobody behind it.
  EXPECT_EQ(snapshot::Code::NOT_FOUND, codeOfConnect());
}

TEST_F(ShimConnectionTest, RedialsAndCatchesUp) {
  FakeShim fake(*io.lowLevelProvider, path);
  connection->connect().wait(io.waitScope);
  fake.containers.add(stateOf("a", shim::Stage::EXITED, 1));
  fake.dropConnections();
  waitUntil([&] { return news.changes.size() > 0; });
  connection->client().wait(io.waitScope).infoRequest().send().wait(io.waitScope);
  EXPECT_STREQ("a 2", news.changes[0].cStr());
  EXPECT_EQ(0, news.deaths);
}

TEST_F(ShimConnectionTest, HangsUpForGood) {
  FakeShim fake(*io.lowLevelProvider, path);
  connection->connect().wait(io.waitScope);
  connection->hangUp();
  EXPECT_FALSE(connection->isConnected());
  auto late = connection->client(1 * kj::MILLISECONDS);
  auto exception = KJ_ASSERT_NONNULL(kj::runCatchingExceptions([&] { late.wait(io.waitScope); }));
  EXPECT_EQ(snapshot::Code::UNAVAILABLE, snapshot::codeOf(exception));
}

TEST_F(ShimConnectionTest, TellsThatTheShimDied) {
  FakeShimProcess process(path, [](FakeShim&) {});
  connection->connect().wait(io.waitScope);
  EXPECT_FALSE(connection->isDead());
  process.signal(SIGKILL);
  connection->whenDead().wait(io.waitScope);
  EXPECT_TRUE(connection->isDead());
  EXPECT_EQ(1, news.deaths);
  auto exception = KJ_ASSERT_NONNULL(
      kj::runCatchingExceptions([&] { connection->client().wait(io.waitScope); }));
  EXPECT_EQ(snapshot::Code::UNAVAILABLE, snapshot::codeOf(exception));
}

TEST_F(ShimConnectionTest, KillsTheShimItself) {
  FakeShimProcess process(path, [](FakeShim&) {});
  connection->connect().wait(io.waitScope);
  connection->kill();
  connection->whenDead().wait(io.waitScope);
  EXPECT_TRUE(process.hasEnded());
  connection->kill();
}

TEST_F(ShimConnectionTest, ASilentShimIsOnlyWaitedForAsLongAsOneWants) {
  FakeShimProcess process(path, [](FakeShim&) {});
  process.signal(SIGSTOP);
  auto& timer = io.provider->getTimer();
  {
    auto meeting = connection->connect().then([] { return true; });
    EXPECT_FALSE(
        meeting.exclusiveJoin(timer.afterDelay(20 * kj::MILLISECONDS).then([] { return false; }))
            .wait(io.waitScope));
  }
  process.signal(SIGCONT);
  connection->connect().wait(io.waitScope);
  EXPECT_TRUE(connection->isConnected());
}

TEST_F(ShimConnectionTest, DroppingItInTheMiddleIsFine) {
  FakeShim fake(*io.lowLevelProvider, path);
  auto meeting = connection->connect();
  meeting.poll(io.waitScope);
  meeting = nullptr;
  connection = nullptr;
  connection = newConnection();
  connection->connect().wait(io.waitScope);
}

}  // namespace
}  // namespace belay::supervisor
