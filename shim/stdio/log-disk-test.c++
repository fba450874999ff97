// Tests of both implementations of log-disk.h.
#include "shim/stdio/log-disk.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <kj/async-io.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "shim/stdio/test-folder.h"

namespace belay::shim {
namespace {

enum class Kind { PLAIN, URING };

class LogDiskTest : public ::testing::TestWithParam<Kind> {
 protected:
  ~LogDiskTest() noexcept override {}

  void SetUp() override {
    if (GetParam() == Kind::PLAIN) {
      disk = newPlainLogDisk();
      return;
    }
    auto made = tryNewUringLogDisk(io.unixEventPort);
    KJ_IF_MAYBE (uring, made) {
      disk = kj::mv(*uring);
    } else {
      GTEST_SKIP() << "this kernel has no io_uring, or forbids it";
    }
  }

  kj::Own<DiskFile> openFile(const std::string& name) {
    auto opened =
        disk->open(kj::str(folder.at(name)), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640)
            .wait(io.waitScope);
    KJ_REQUIRE(opened.is<kj::AutoCloseFd>(), opened.get<int>());
    return kj::refcounted<DiskFile>(kj::mv(opened.get<kj::AutoCloseFd>()));
  }

  static kj::Vector<kj::byte> bytes(std::string_view text) {
    kj::Vector<kj::byte> result;
    result.addAll(kj::arrayPtr(text.data(), text.size()).asBytes());
    return result;
  }

  TestFolder folder;
  kj::AsyncIoContext io = kj::setupAsyncIo();
  kj::Own<LogDisk> disk;
};

TEST_P(LogDiskTest, NothingIsUnderWayWhileItIsHeld) {
  auto file = openFile("log");
  auto first = disk->write(kj::addRef(*file), bytes("one "), 0);
  disk->hold().wait(io.waitScope);
  EXPECT_EQ(folder.read("log"), "one ");
  auto second = disk->write(kj::addRef(*file), bytes("two "), 0);
  // By plain calls nothing is under way at any time.
  EXPECT_EQ(second.poll(io.waitScope), GetParam() == Kind::PLAIN);
  if (GetParam() == Kind::URING) EXPECT_EQ(folder.read("log"), "one ");
  disk->release();
  EXPECT_EQ(second.wait(io.waitScope).result, 4);
  EXPECT_EQ(folder.read("log"), "one two ");
}

TEST_P(LogDiskTest, WritesAtTheEndAndGivesTheBufferBack) {
  auto file = openFile("log");
  auto first = disk->write(kj::addRef(*file), bytes("xxone "), 2).wait(io.waitScope);
  EXPECT_EQ(first.result, 4);
  EXPECT_EQ(first.data.size(), 6u);
  EXPECT_EQ(disk->write(kj::addRef(*file), bytes("two"), 0).wait(io.waitScope).result, 3);
  EXPECT_EQ(folder.read("log"), "one two");
}

TEST_P(LogDiskTest, ErrorsAreNumbers) {
  auto opened = disk->open(kj::str(folder.at("no/log")), O_WRONLY | O_CREAT | O_CLOEXEC, 0640)
                    .wait(io.waitScope);
  ASSERT_TRUE(opened.is<int>());
  EXPECT_EQ(opened.get<int>(), ENOENT);
  EXPECT_EQ(disk->makeDirectory(kj::str(folder.at("no")), 0755).wait(io.waitScope), 0);
  EXPECT_EQ(disk->makeDirectory(kj::str(folder.at("no")), 0755).wait(io.waitScope), EEXIST);
  openFile("no/log");

  int full;
  KJ_SYSCALL(full = open("/dev/full", O_WRONLY | O_CLOEXEC));
  auto file = kj::refcounted<DiskFile>(kj::AutoCloseFd(full));
  EXPECT_EQ(disk->write(kj::mv(file), bytes("x"), 0).wait(io.waitScope).result, -ENOSPC);
}

TEST_P(LogDiskTest, ManyAtOnce) {
  kj::Vector<kj::Promise<LogDisk::Written>> writes;
  for (int i = 0; i < 100; i++) {
    writes.add(disk->write(openFile(std::to_string(i)), bytes(std::to_string(i)), 0));
  }
  for (auto& write : writes)
    EXPECT_GT(write.wait(io.waitScope).result, 0);
  for (int i = 0; i < 100; i++)
    EXPECT_EQ(folder.read(std::to_string(i)), std::to_string(i));
}

TEST_P(LogDiskTest, ADroppedWriteIsStillWritten) {
  auto file = openFile("log");
  {
    auto dropped = disk->write(kj::addRef(*file), bytes("first "), 0);
  }
  disk->write(kj::addRef(*file), bytes("second"), 0).wait(io.waitScope);
  // Writes of one file are done in order.
  EXPECT_EQ(folder.read("log"), "first second");
}

TEST_P(LogDiskTest, AWriteThatHangsHoldsNothingElseUp) {
  if (GetParam() == Kind::PLAIN) GTEST_SKIP() << "plain writes block by their nature";
  // A full pipe is a disk that does not answer.
  int fds[2];
  KJ_SYSCALL(pipe2(fds, O_CLOEXEC | O_NONBLOCK));
  kj::AutoCloseFd readEnd(fds[0]);
  auto hung = kj::refcounted<DiskFile>(kj::AutoCloseFd(fds[1]));
  std::string block(4096, 'x');
  while (write(hung->fd, block.data(), block.size()) > 0) {
  }
  KJ_SYSCALL(fcntl(hung->fd, F_SETFL, 0));
  auto stuck = disk->write(kj::mv(hung), bytes("x"), 0);
  EXPECT_EQ(disk->write(openFile("log"), bytes("fine"), 0).wait(io.waitScope).result, 4);
  EXPECT_FALSE(stuck.poll(io.waitScope));
}

// A child of the shim ends up in a container. Whoever traces it there and has the ring's memory
// writes what the kernel does next with the shim's rights.
TEST_P(LogDiskTest, AForkedChildHasNoRing) {
  constexpr int CLEAN = 0, RING_FOUND = 1;
  pid_t child = fork();
  if (child == 0) {
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);) {
      if (line.find("io_uring") != std::string::npos) _exit(RING_FOUND);
    }
    _exit(CLEAN);
  }
  int status;
  KJ_SYSCALL(waitpid(child, &status, 0));
  EXPECT_EQ(status, CLEAN);
  EXPECT_EQ(disk->write(openFile("log"), bytes("goes on"), 0).wait(io.waitScope).result, 7);
}

INSTANTIATE_TEST_SUITE_P(Both, LogDiskTest, ::testing::Values(Kind::PLAIN, Kind::URING),
                         [](auto& info) {
                           return std::string(info.param == Kind::PLAIN ? "Plain" : "Uring");
                         });

}  // namespace
}  // namespace belay::shim
