// Tests of container-log.h: what reaches the file, rotation, errors, and what a successor does.
#include "shim/stdio/container-log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <kj/async-io.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim/stdio/test-folder.h"

namespace belay::shim {
namespace {

// A disk whose next writes do what a test wants.
class FakeDisk final : public LogDisk {
 public:
  kj::Promise<kj::OneOf<kj::AutoCloseFd, int>> open(kj::String path, int flags,
                                                    mode_t mode) override {
    return real->open(kj::mv(path), flags, mode);
  }
  kj::Promise<int> makeDirectory(kj::String path, mode_t mode) override {
    return real->makeDirectory(kj::mv(path), mode);
  }
  kj::Promise<Written> write(kj::Own<DiskFile> file, kj::Vector<kj::byte> data,
                             size_t from) override {
    writes++;
    if (failWith != 0) return Written{kj::mv(data), -failWith};
    if (writeOnly > 0) {
      // A short write, and then an error.
      ssize_t count;
      KJ_SYSCALL(count = ::write(file->fd, data.begin() + from, writeOnly));
      writeOnly = 0;
      failWith = ENOSPC;
      return Written{kj::mv(data), count};
    }
    return real->write(kj::mv(file), kj::mv(data), from);
  }

  kj::Own<LogDisk> real = newPlainLogDisk();
  int failWith = 0;
  size_t writeOnly = 0;
  int writes = 0;
};

class ContainerLogTest : public ::testing::Test {
 protected:
  ContainerLogTest() {
    KJ_SYSCALL(pipe2(outPipe, O_CLOEXEC | O_NONBLOCK));
    KJ_SYSCALL(pipe2(errPipe, O_CLOEXEC | O_NONBLOCK));
  }
  ~ContainerLogTest() noexcept override {
    for (int fd : {outPipe[0], outPipe[1], errPipe[0], errPipe[1]})
      close(fd);
  }

  void open(size_t maxLineBytes = 16384) {
    log = kj::heap<ContainerLog>(disk, timer, LogPositionFile::create(folder.fd(), "position"),
                                 path, maxLineBytes, out, err);
    auto failure = log->open().wait(waitScope);
    KJ_IF_MAYBE (problem, failure) {
      KJ_FAIL_REQUIRE(problem->message);
    }
  }

  void put(int* pipe, Spool& spool, std::string_view text) {
    KJ_SYSCALL(write(pipe[1], text.data(), text.size()));
    KJ_REQUIRE(spool.spliceFrom(pipe[0]) == Spool::Moved::SOME);
    log->notify();
  }
  void writeOut(std::string_view text) { put(outPipe, out, text); }
  void writeErr(std::string_view text) { put(errPipe, err, text); }

  // Lets everything run that can run now.
  void settle() { waitScope.poll(); }
  void pass(kj::Duration duration) {
    timer.advanceTo(timer.now() + duration);
    settle();
  }

  void end() {
    log->endOfInput(LogStream::OUT);
    log->endOfInput(LogStream::ERR);
    log->whenFinished().wait(waitScope);
  }

  // The file without timestamps.
  std::string text(const std::string& name = "log") {
    std::stringstream lines(folder.read(name));
    std::string result;
    for (std::string line; std::getline(lines, line);) {
      result += line.substr(line.find(' ') + 1) + "\n";
    }
    return result;
  }

  TestFolder folder;
  kj::EventLoop loop;
  kj::WaitScope waitScope{loop};
  kj::TimerImpl timer{kj::origin<kj::TimePoint>()};
  FakeDisk disk;
  kj::String path = kj::str(folder.at("log"));
  Spool out = Spool::create(folder.fd(), "out.spool");
  Spool err = Spool::create(folder.fd(), "err.spool");
  int outPipe[2], errPipe[2];
  kj::Own<ContainerLog> log;
};

TEST_F(ContainerLogTest, LinesOfBothStreamsReachTheFile) {
  open();
  writeOut("one\ntwo\nhal");
  writeErr("oops\n");
  settle();
  EXPECT_EQ(text(), "stdout F one\nstdout F two\nstderr F oops\n");
  writeOut("f\nrest");
  end();
  EXPECT_EQ(text(), "stdout F one\nstdout F two\nstderr F oops\nstdout F half\nstdout P rest\n");
  EXPECT_EQ(out.begin(), out.end());
}

TEST_F(ContainerLogTest, MuchIsWrittenInFewWrites) {
  open();
  std::string lines;
  for (int i = 0; i < 1000; i++)
    lines += "line " + std::to_string(i) + "\n";
  writeOut(lines);
  end();
  EXPECT_EQ(std::count_if(lines.begin(), lines.end(), [](char c) { return c == '\n'; }), 1000);
  auto result = text();
  EXPECT_EQ(std::count(result.begin(), result.end(), '\n'), 1000);
  EXPECT_LE(disk.writes, 3);
}

TEST_F(ContainerLogTest, ParentsAreMadeAndTheModeIsRight) {
  path = kj::str(folder.at("pod/container/0.log"));
  open();
  struct stat stats;
  KJ_SYSCALL(stat(path.cStr(), &stats));
  EXPECT_EQ(stats.st_mode & 0777, 0640u);
}

TEST_F(ContainerLogTest, ALinkIsNotFollowed) {
  std::filesystem::create_symlink(folder.at("elsewhere"), path.cStr());
  log = kj::heap<ContainerLog>(disk, timer, LogPositionFile::create(folder.fd(), "position"), path,
                               0, out, err);
  EXPECT_TRUE(log->open().wait(waitScope) != nullptr);
  EXPECT_FALSE(std::filesystem::exists(folder.at("elsewhere")));
}

TEST_F(ContainerLogTest, WithoutAPathOutputIsDropped) {
  path = kj::str();
  open();
  writeOut("one\n");
  settle();
  EXPECT_EQ(out.begin(), out.end());
  end();
}

TEST_F(ContainerLogTest, ReopenSwitchesBetweenLines) {
  open(4);
  writeOut("one\n");
  settle();
  std::filesystem::rename(path.cStr(), folder.at("log.1"));
  auto reopened = log->reopen();
  EXPECT_TRUE(reopened.poll(waitScope));
  EXPECT_TRUE(reopened.wait(waitScope) == nullptr);
  writeOut("two\n");
  end();
  EXPECT_EQ(text("log.1"), "stdout F one\n");
  EXPECT_EQ(text(), "stdout F two\n");
}

TEST_F(ContainerLogTest, ReopenWaitsForTheEndOfACutLine) {
  open(4);
  writeOut("abcdefg");  // "abcd" is written, "efg" waits for more
  settle();
  std::filesystem::rename(path.cStr(), folder.at("log.1"));
  auto reopened = log->reopen();
  EXPECT_FALSE(reopened.poll(waitScope));
  writeOut("\nnext\n");
  EXPECT_TRUE(reopened.poll(waitScope));
  end();
  EXPECT_EQ(text("log.1"), "stdout P abcd\nstdout F efg\nstdout F next\n");
  EXPECT_EQ(text(), "");
}

TEST_F(ContainerLogTest, ReopenDoesNotWaitForeverForALineThatNeverEnds) {
  open(4);
  writeOut("abcdefg");
  settle();
  std::filesystem::rename(path.cStr(), folder.at("log.1"));
  auto reopened = log->reopen();
  EXPECT_FALSE(reopened.poll(waitScope));
  pass(ContainerLog::REOPEN_PATIENCE);
  EXPECT_TRUE(reopened.poll(waitScope));
  end();
  EXPECT_EQ(text("log.1"), "stdout P abcd\n");
  EXPECT_EQ(text(), "stdout P efg\n");
}

TEST_F(ContainerLogTest, AFailedReopenKeepsTheOldFile) {
  open();
  std::filesystem::rename(path.cStr(), folder.at("log.1"));
  std::filesystem::create_directory(path.cStr());
  EXPECT_TRUE(log->reopen().wait(waitScope) != nullptr);
  writeOut("one\n");
  end();
  EXPECT_EQ(text("log.1"), "stdout F one\n");
}

TEST_F(ContainerLogTest, WhatAFullDiskRefusesWaitsAndIsWrittenLater) {
  open();
  disk.failWith = ENOSPC;
  writeOut("one\n");
  settle();
  EXPECT_EQ(text(), "");
  EXPECT_LT(out.begin(), out.end());
  disk.failWith = 0;
  pass(2 * kj::SECONDS);
  EXPECT_EQ(text(), "stdout F one\n");
  EXPECT_EQ(log->droppedBytes(), 0u);
}

TEST_F(ContainerLogTest, ATornRecordIsTakenBack) {
  open();
  writeOut("one\n");
  settle();
  disk.writeOnly = 10;
  writeOut("two\n");
  settle();
  EXPECT_EQ(text(), "stdout F one\n");
  disk.failWith = 0;
  pass(2 * kj::SECONDS);
  EXPECT_EQ(text(), "stdout F one\nstdout F two\n");
}

TEST_F(ContainerLogTest, AFullDiskDropsOnlyWhenTheSpoolIsFull) {
  open();
  disk.failWith = ENOSPC;
  std::string line(1023, 'x');
  line += '\n';
  uint64_t put = 0;
  while (log->droppedBytes() == 0 && put < 2 * Spool::CAPACITY) {
    writeOut(line);
    put += line.size();
    settle();
  }
  EXPECT_EQ(put, Spool::CAPACITY);
  EXPECT_GT(log->droppedBytes(), 0u);
  EXPECT_LT(log->droppedBytes(), Spool::CAPACITY);
  EXPECT_GT(out.room(), 0u) << "the container can go on";
}

TEST_F(ContainerLogTest, TheEndDoesNotWaitForAFullDisk) {
  open();
  disk.failWith = EIO;
  writeOut("one\n");
  end();
  EXPECT_EQ(log->droppedBytes(), 4u);
}

// A killed shim: its log and spools live on in files, the object does not.
class SuccessorTest : public ContainerLogTest {
 protected:
  LogPosition stored() {
    return KJ_REQUIRE_NONNULL(LogPositionFile::open(folder.fd(), "position").load());
  }
  void succeed(const LogPosition& position) {
    log = nullptr;
    out = Spool::open(folder.fd(), "out.spool", position.spooled[0]);
    err = Spool::open(folder.fd(), "err.spool", position.spooled[1]);
    log = kj::heap<ContainerLog>(disk, timer, LogPositionFile::open(folder.fd(), "position"), path,
                                 16384, out, err);
    log->resume(position).wait(waitScope);
  }
};

TEST_F(SuccessorTest, GoesOnWithoutGapAndRepeat) {
  open();
  writeOut("one\ntwo\n");
  settle();
  auto before = stored();
  writeOut("three\nfour");
  settle();
  // Killed after "three" was written to the log and before that was recorded.
  LogPositionFile::open(folder.fd(), "position").store(before);
  succeed(stored());
  settle();
  writeOut("\nfive\n");
  end();
  EXPECT_EQ(text(), "stdout F one\nstdout F two\nstdout F three\nstdout F four\nstdout F five\n");
}

TEST_F(SuccessorTest, CutsNothingOffAnotherFile) {
  open();
  writeOut("one\n");
  settle();
  std::filesystem::rename(path.cStr(), folder.at("log.1"));
  std::ofstream(path.cStr()) << "2026-01-02T03:04:05.000000006Z stdout F somebody else's\n";
  succeed(stored());
  writeOut("two\n");
  end();
  EXPECT_EQ(text(), "stdout F somebody else's\nstdout F two\n");
  EXPECT_EQ(text("log.1"), "stdout F one\n");
}

}  // namespace
}  // namespace belay::shim
