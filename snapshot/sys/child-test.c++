// Children of belayd: exact descriptors, clean signals, statuses that nobody else can take.
#include "snapshot/sys/child.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <kj/async-io.h>
#include <kj/debug.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "snapshot/failure.h"

namespace belay::snapshot {
namespace {

struct ChildTest : public ::testing::Test {
  kj::AsyncIoContext io = kj::setupAsyncIo();
  Children children{io.unixEventPort};

  // GoogleTest's own destructor does not throw, KJ's may.
  ~ChildTest() noexcept override {}

  void TearDown() override { children.whenDroppedAreReaped().wait(io.waitScope); }

  static Command shell(kj::StringPtr script) {
    Command command;
    command.path = kj::str("/bin/sh");
    command.argv = kj::arr(kj::str("sh"), kj::str("-c"), kj::str(script));
    command.env = kj::arr(kj::str("PATH=/usr/bin:/bin"));
    return command;
  }

  ExitStatus run(const Command& command) {
    return children.spawn(command, Child::OnDrop::KILL)->wait().wait(io.waitScope);
  }

  // Runs the script with a pipe as its fd 1 and gives what it wrote.
  kj::String outputOf(Command command) {
    int ends[2];
    KJ_SYSCALL(pipe2(ends, O_CLOEXEC));
    kj::AutoCloseFd readEnd(ends[0]);
    kj::AutoCloseFd writeEnd(ends[1]);
    command.descriptors.add(Command::Descriptor{1, writeEnd.get()});
    auto child = children.spawn(command, Child::OnDrop::KILL);
    writeEnd = nullptr;
    auto stream = io.lowLevelProvider->wrapInputFd(kj::mv(readEnd));
    auto text = stream->readAllText().wait(io.waitScope);
    EXPECT_TRUE(child->wait().wait(io.waitScope).success());
    return text;
  }

  // Waits until the read end of a pipe says that every writer is gone.
  void waitForEnd(kj::AutoCloseFd readEnd) {
    auto stream = io.lowLevelProvider->wrapInputFd(kj::mv(readEnd));
    stream->readAllBytes().wait(io.waitScope);
  }
};

TEST_F(ChildTest, TellsExitCodeAndSignal) {
  EXPECT_EQ(run(shell("exit 7")).exitCode, 7);
  EXPECT_TRUE(run(shell("exit 0")).success());
  ExitStatus killed = run(shell("kill -TERM $$"));
  EXPECT_EQ(killed.signal, SIGTERM);
  EXPECT_FALSE(killed.success());
  EXPECT_STREQ(killed.describe().cStr(), "signal 15 (Terminated)");
}

TEST_F(ChildTest, CanBeAwaitedOftenAndLate) {
  auto child = children.spawn(shell("exit 3"), Child::OnDrop::KILL);
  auto first = child->wait();
  auto second = child->wait();
  EXPECT_EQ(first.wait(io.waitScope).exitCode, 3);
  EXPECT_EQ(second.wait(io.waitScope).exitCode, 3);
  EXPECT_EQ(child->wait().wait(io.waitScope).exitCode, 3);
  EXPECT_FALSE(child->signal(SIGTERM));
}

TEST_F(ChildTest, SaysWhyAProgramDidNotStart) {
  Command command = shell("");
  command.path = kj::str("/nonexistent/program");
  try {
    run(command);
    FAIL() << "it started";
  } catch (const kj::Exception& exception) {
    EXPECT_EQ(codeOf(exception), Code::INTERNAL);
    EXPECT_STREQ(messageOf(exception).cStr(),
                 "cannot start /nonexistent/program: it could not execute the program: "
                 "No such file or directory");
  }
}

TEST_F(ChildTest, HasOnlyTheDescriptorsItIsGiven) {
  // Not close-on-exec: only the child's own closing keeps it out.
  kj::AutoCloseFd leak(open("/dev/zero", O_RDONLY));
  ASSERT_GE(leak.get(), 0);
  Command command = shell("for f in /proc/$$/fd/*; do readlink $f; done");
  command.descriptors.add(Command::Descriptor{9, leak.get()});
  auto lines = outputOf(kj::mv(command));
  int zeros = 0;
  int nulls = 0;
  int pipes = 0;
  int all = 0;
  for (const char* line = lines.cStr(); *line != 0; line = strchr(line, '\n') + 1) {
    ++all;
    zeros += strncmp(line, "/dev/zero\n", 10) == 0;
    nulls += strncmp(line, "/dev/null\n", 10) == 0;
    pipes += strncmp(line, "pipe:", 5) == 0;
  }
  EXPECT_EQ(zeros, 1) << lines.cStr();
  EXPECT_EQ(nulls, 2) << lines.cStr();
  EXPECT_EQ(pipes, 1) << lines.cStr();
  EXPECT_EQ(all, 4) << lines.cStr();
}

TEST_F(ChildTest, SwapsDescriptorsSafely) {
  kj::AutoCloseFd zero(open("/dev/zero", O_RDONLY | O_CLOEXEC));
  kj::AutoCloseFd full(open("/dev/full", O_RDONLY | O_CLOEXEC));
  Command command = shell("readlink /proc/$$/fd/$A; readlink /proc/$$/fd/$B");
  command.env =
      kj::arr(kj::str("A=", zero.get()), kj::str("B=", full.get()), kj::str("PATH=/usr/bin:/bin"));
  command.descriptors.add(Command::Descriptor{zero.get(), full.get()});
  command.descriptors.add(Command::Descriptor{full.get(), zero.get()});
  EXPECT_STREQ(outputOf(kj::mv(command)).cStr(), "/dev/full\n/dev/zero\n");
}

TEST_F(ChildTest, StartsWithDefaultSignals) {
  // KJ ignores SIGPIPE; block one more.
  sigset_t usr2;
  sigemptyset(&usr2);
  sigaddset(&usr2, SIGUSR2);
  sigset_t before;
  sigprocmask(SIG_BLOCK, &usr2, &before);
  KJ_DEFER(sigprocmask(SIG_SETMASK, &before, nullptr));
  auto status = outputOf(shell("exec grep -E '^Sig(Blk|Ign):' /proc/self/status"));
  EXPECT_STREQ(status.cStr(), "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

TEST_F(ChildTest, JoinsCgroupsByWritingZero) {
  int ends[2];
  KJ_SYSCALL(pipe2(ends, O_CLOEXEC));
  kj::AutoCloseFd readEnd(ends[0]);
  kj::AutoCloseFd writeEnd(ends[1]);
  Command command = shell("exit 0");
  command.cgroupTasks.add(writeEnd.get());
  command.cgroupTasks.add(writeEnd.get());
  EXPECT_TRUE(run(command).success());
  writeEnd = nullptr;
  char text[8] = {};
  EXPECT_EQ(read(readEnd, text, sizeof(text)), 2);
  EXPECT_STREQ(text, "00");
}

TEST_F(ChildTest, SetsFolderNiceAndSession) {
  kj::AutoCloseFd folder(open("/usr", O_PATH | O_DIRECTORY | O_CLOEXEC));
  Command command = shell("pwd; nice; test \"$(cut -d' ' -f6 /proc/$$/stat)\" = $$ && echo leader");
  command.workingDirectory = folder.get();
  command.nice = getpriority(PRIO_PROCESS, 0) + 3;
  command.group = Command::Group::SESSION;
  auto expected = kj::str("/usr\n", getpriority(PRIO_PROCESS, 0) + 3, "\nleader\n");
  EXPECT_STREQ(outputOf(kj::mv(command)).cStr(), expected.cStr());
}

TEST_F(ChildTest, AStartedChildHasLetGoOfOurDescriptors) {
  for (int i = 0; i < 20; ++i) {
    int ends[2];
    KJ_SYSCALL(pipe2(ends, O_CLOEXEC | O_NONBLOCK));
    kj::AutoCloseFd readEnd(ends[0]);
    kj::AutoCloseFd writeEnd(ends[1]);
    auto child = children.spawn(shell("exec sleep 1000"), Child::OnDrop::KILL);
    writeEnd = nullptr;
    children.whenAllStarted().wait(io.waitScope);
    char byte;
    // End of file: nobody else has the write end any more.
    EXPECT_EQ(read(readEnd, &byte, 1), 0);
  }
  children.whenAllStarted().wait(io.waitScope);
}

TEST_F(ChildTest, DroppingKillsTheWholeGroupWithoutBlocking) {
  int ends[2];
  KJ_SYSCALL(pipe2(ends, O_CLOEXEC));
  kj::AutoCloseFd readEnd(ends[0]);
  kj::AutoCloseFd writeEnd(ends[1]);
  Command command = shell("sleep 1000 & sleep 1000 & echo ready >&8; wait");
  command.group = Command::Group::PROCESS_GROUP;
  command.descriptors.add(Command::Descriptor{8, writeEnd.get()});
  auto child = children.spawn(command, Child::OnDrop::KILL_GROUP);
  writeEnd = nullptr;
  char word[6];
  ASSERT_EQ(read(readEnd, word, sizeof(word)), 6);
  auto pending = child->wait();
  child = nullptr;
  // The sleepers hold the pipe too: its end proves that all are gone.
  waitForEnd(kj::mv(readEnd));
  children.whenDroppedAreReaped().wait(io.waitScope);
  EXPECT_EQ(pending.wait(io.waitScope).signal, SIGKILL);
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1);
}

TEST_F(ChildTest, ALeftChildLivesOnAndIsReaped) {
  int sockets[2];
  KJ_SYSCALL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets));
  kj::AutoCloseFd ours(sockets[0]);
  kj::AutoCloseFd theirs(sockets[1]);
  Command command = shell("read line; echo got $line");
  command.descriptors.add(Command::Descriptor{0, theirs.get()});
  command.descriptors.add(Command::Descriptor{1, theirs.get()});
  children.spawn(command, Child::OnDrop::LEAVE);
  theirs = nullptr;
  ASSERT_EQ(write(ours, "it\n", 3), 3);
  char text[16] = {};
  EXPECT_EQ(recv(ours, text, 7, MSG_WAITALL), 7);
  EXPECT_STREQ(text, "got it\n");
  children.whenDroppedAreReaped().wait(io.waitScope);
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1);
}

TEST_F(ChildTest, ReapsOrphansAndKeepsOwnStatuses) {
  ASSERT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  kj::UnixEventPort::captureSignal(SIGCHLD);
  auto orphan = kj::newPromiseAndFulfiller<int>();
  auto reaper = children
                    .reapOrphans([&](pid_t, ExitStatus status) {
                      orphan.fulfiller->fulfill(kj::cp(status.exitCode));
                    })
                    .eagerlyEvaluate(nullptr);
  auto child = children.spawn(
      shell("(exit 0; ) ; sh -c 'read x < /proc/sys/kernel/ostype; exit 42' & exit 5"),
      Child::OnDrop::KILL);
  EXPECT_EQ(child->wait().wait(io.waitScope).exitCode, 5);
  EXPECT_EQ(orphan.promise.wait(io.waitScope), 42);
  ASSERT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
}

}  // namespace
}  // namespace belay::snapshot
