// Tests of spool.h: positions, the bound, and that another process can go on from the file.
#include "shim/stdio/spool.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim/stdio/test-folder.h"

namespace belay::shim {
namespace {

struct Pipe {
  Pipe() {
    int fds[2];
    KJ_SYSCALL(pipe2(fds, O_CLOEXEC | O_NONBLOCK));
    readEnd = kj::AutoCloseFd(fds[0]);
    writeEnd = kj::AutoCloseFd(fds[1]);
  }
  void write(std::string_view text) { KJ_SYSCALL(::write(writeEnd, text.data(), text.size())); }
  kj::AutoCloseFd readEnd, writeEnd;
};

std::string contents(const Spool& spool) {
  kj::byte buffer[1024];
  auto bytes = spool.read(spool.begin(), buffer);
  return std::string(bytes.asChars().begin(), bytes.size());
}

TEST(SpoolTest, TakesWhatThePipeHolds) {
  TestFolder folder;
  auto spool = Spool::create(folder.fd(), "out");
  Pipe pipe;
  EXPECT_EQ(spool.spliceFrom(pipe.readEnd), Spool::Moved::NOTHING_NOW);
  pipe.write("hello");
  EXPECT_EQ(spool.spliceFrom(pipe.readEnd), Spool::Moved::SOME);
  EXPECT_EQ(contents(spool), "hello");
  pipe.writeEnd = nullptr;
  EXPECT_EQ(spool.spliceFrom(pipe.readEnd), Spool::Moved::END);
}

TEST(SpoolTest, ConsumedBytesAreGoneAndPositionsGoOn) {
  TestFolder folder;
  auto spool = Spool::create(folder.fd(), "out");
  Pipe pipe;
  pipe.write("hello world");
  spool.spliceFrom(pipe.readEnd);
  spool.consume(6);
  EXPECT_EQ(contents(spool), "world");
  EXPECT_EQ(spool.begin(), 6u);
  EXPECT_EQ(spool.end(), 11u);
}

TEST(SpoolTest, IsBoundedAndGivesSpaceBack) {
  TestFolder folder;
  auto spool = Spool::create(folder.fd(), "out");
  Pipe pipe;
  std::string block(64 << 10, 'x');
  size_t moved = 0;
  while (true) {
    pipe.write(block);
    if (spool.spliceFrom(pipe.readEnd) == Spool::Moved::FULL) break;
    moved += block.size();
    ASSERT_LE(moved, Spool::CAPACITY);
  }
  EXPECT_EQ(spool.room(), 0u);
  spool.consume(spool.end());
  EXPECT_EQ(spool.spliceFrom(pipe.readEnd), Spool::Moved::SOME);

  struct stat stats;
  KJ_SYSCALL(stat(folder.at("out").c_str(), &stats));
  EXPECT_GT(stats.st_size, off_t(Spool::CAPACITY));
  EXPECT_LT(stats.st_blocks * 512, off_t(Spool::CAPACITY / 4)) << "consumed pages are holes";
}

TEST(SpoolTest, AnotherGoesOnFromTheFile) {
  TestFolder folder;
  Pipe pipe;
  {
    auto spool = Spool::create(folder.fd(), "out");
    pipe.write("one two");
    spool.spliceFrom(pipe.readEnd);
  }
  auto spool = Spool::open(folder.fd(), "out", 4);
  EXPECT_EQ(contents(spool), "two");
  pipe.write(" three");
  spool.spliceFrom(pipe.readEnd);
  EXPECT_EQ(contents(spool), "two three");
}

TEST(SpoolTest, APositionBehindTheEndIsRefused) {
  TestFolder folder;
  Spool::create(folder.fd(), "out");
  EXPECT_THROW(Spool::open(folder.fd(), "out", 1), kj::Exception);
}

}  // namespace
}  // namespace belay::shim
