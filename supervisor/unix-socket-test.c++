// Tests of unix-socket.h: dead sockets are replaced, live ones and other files are not.
#include "supervisor/unix-socket.h"

#include <gtest/gtest.h>
#include <kj/debug.h>
#include <kj/function.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <fstream>

#include "snapshot/failure.h"

namespace belay::supervisor {
namespace {

class UnixSocketTest : public testing::Test {
 protected:
  UnixSocketTest() {
    auto pattern = kj::str(testing::TempDir().c_str(), "/socket-XXXXXX");
    KJ_ASSERT(mkdtemp(pattern.begin()) != nullptr);
    folder = kj::mv(pattern);
    // Longer than sun_path.
    path = kj::str(folder, '/', kj::repeat('d', 100), "/belay.sock");
  }

  snapshot::Code codeOf(kj::Function<void()> action) {
    return snapshot::codeOf(KJ_ASSERT_NONNULL(kj::runCatchingExceptions([&] { action(); })));
  }

  kj::String folder;
  kj::String path;
};

TEST_F(UnixSocketTest, ListensWithTheModeAndIsReached) {
  auto listener = listenOnUnixSocket(path, 0640);
  struct stat stats;
  ASSERT_EQ(0, stat(path.cStr(), &stats));
  EXPECT_EQ(0640u, stats.st_mode & 0777);
  auto client = connectToUnixSocket(path);
  EXPECT_GE(client.get(), 0);
}

TEST_F(UnixSocketTest, ReplacesADeadDaemonsSocket) {
  {
    auto dead = listenOnUnixSocket(path, 0600);
  }
  EXPECT_EQ(snapshot::Code::UNAVAILABLE, codeOf([&] { connectToUnixSocket(path); }));
  auto listener = listenOnUnixSocket(path, 0600);
  connectToUnixSocket(path);
}

TEST_F(UnixSocketTest, LeavesALiveDaemonsSocketAndOtherFilesAlone) {
  auto listener = listenOnUnixSocket(path, 0600);
  EXPECT_EQ(snapshot::Code::FAILED_PRECONDITION, codeOf([&] { listenOnUnixSocket(path, 0600); }));
  connectToUnixSocket(path);
  auto file = kj::str(folder, "/file");
  std::ofstream(file.cStr()) << "precious";
  EXPECT_EQ(snapshot::Code::FAILED_PRECONDITION, codeOf([&] { listenOnUnixSocket(file, 0600); }));
  EXPECT_EQ(0, access(file.cStr(), F_OK));
}

TEST_F(UnixSocketTest, NobodyThereIsUnavailable) {
  EXPECT_EQ(snapshot::Code::UNAVAILABLE, codeOf([&] { connectToUnixSocket(path); }));
}

}  // namespace
}  // namespace belay::supervisor
