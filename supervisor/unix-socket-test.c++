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

TEST_F(UnixSocketTest, TellsTheServiceManager) {
  int fd;
  KJ_SYSCALL(fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  kj::AutoCloseFd manager(fd);
  sockaddr_un address{.sun_family = AF_UNIX};
  // Abstract: "@name" in the variable is a NUL byte and the name.
  auto name = kj::str("belay-notify-test-", getpid());
  memcpy(address.sun_path + 1, name.begin(), name.size());
  socklen_t size = sizeof(sa_family_t) + 1 + name.size();
  KJ_SYSCALL(bind(manager, reinterpret_cast<const sockaddr*>(&address), size));
  setenv("NOTIFY_SOCKET", kj::str('@', name).cStr(), 1);
  notifyServiceManager("READY=1");
  unsetenv("NOTIFY_SOCKET");
  notifyServiceManager("READY=1");
  char buffer[64];
  ssize_t count;
  KJ_SYSCALL(count = recv(manager, buffer, sizeof(buffer), MSG_DONTWAIT));
  EXPECT_EQ("READY=1", std::string(buffer, count));
  EXPECT_EQ(-1, recv(manager, buffer, sizeof(buffer), MSG_DONTWAIT));
}

}  // namespace
}  // namespace belay::supervisor
