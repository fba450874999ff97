// Tests of capture.h.
#include "shim/stdio/capture.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <kj/async-io.h>
#include <kj/debug.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

namespace belay::shim {
namespace {

class CaptureTest : public ::testing::Test {
 protected:
  ~CaptureTest() noexcept override {}

  static std::string read(int fd) {
    struct stat stats;
    KJ_SYSCALL(fstat(fd, &stats));
    std::string text(stats.st_size, '\0');
    KJ_SYSCALL(pread(fd, text.data(), text.size(), 0));
    return text;
  }

  kj::AsyncIoContext io = kj::setupAsyncIo();
};

TEST_F(CaptureTest, TakesEverythingUntilTheLastWriterIsGone) {
  Capture capture(io.unixEventPort, "test", 1 << 20);
  auto writer = capture.takeWriteEnd();
  auto ended = capture.whenEnded();
  KJ_SYSCALL(write(writer, "hello ", 6));
  EXPECT_FALSE(ended.poll(io.waitScope));
  KJ_SYSCALL(write(writer, "world", 5));
  writer = nullptr;
  ended.wait(io.waitScope);
  EXPECT_EQ(read(capture.finish()), "hello world");
}

TEST_F(CaptureTest, WhatIsOverTheLimitIsDroppedAndTheWriterNotHeldUp) {
  Capture capture(io.unixEventPort, "test", 10);
  auto writer = capture.takeWriteEnd();
  KJ_SYSCALL(fcntl(writer, F_SETFL, O_NONBLOCK));
  auto ended = capture.whenEnded();
  std::string block(32 << 10, 'x');
  for (int i = 0; i < 20; i++) {
    KJ_SYSCALL(write(writer, block.data(), block.size()));
    EXPECT_FALSE(ended.poll(io.waitScope));
  }
  writer = nullptr;
  ended.wait(io.waitScope);
  EXPECT_EQ(read(capture.finish()), std::string(10, 'x'));
}

TEST_F(CaptureTest, FinishDoesNotWaitForAWriterThatStays) {
  Capture capture(io.unixEventPort, "test", 1 << 20);
  auto writer = capture.takeWriteEnd();
  KJ_SYSCALL(write(writer, "hello", 5));
  EXPECT_EQ(read(capture.finish()), "hello");
}

TEST_F(CaptureTest, TheMemoryFileIsSealed) {
  Capture capture(io.unixEventPort, "test", 1 << 20);
  auto memory = capture.finish();
  EXPECT_EQ(write(memory, "x", 1), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(ftruncate(memory, 100), -1);
}

}  // namespace
}  // namespace belay::shim
