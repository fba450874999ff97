// What a SIGKILLed shim leaves is enough to go on from: with a duplicate of a FIFO's read end in
// somebody's hands, a container writes on, and a successor's log has no gap and no repeat.
#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>

#include "shim/engine/cgroup.h"
#include "shim/engine/namespaces.h"
#include "shim/pidfd-pin.h"
#include "shim/shim-test-fixture.h"
#include "shim/stdio/container-log.h"
#include "shim/stdio/output-reader.h"

namespace belay::shim {
namespace {

constexpr int LINES = 30000;

class ShimKillTest : public ShimTest {
 protected:
  // What the supervisor holds.
  kj::AutoCloseFd duplicateOf(Container::Client container, kj::StringPtr name) {
    auto response = await(container.descriptorsRequest().send());
    for (auto descriptor : response.getDescriptors()) {
      if (descriptor.getName() != name) continue;
      auto fd = await(descriptor.getFile().getFd());
      int copy;
      KJ_SYSCALL(copy = fcntl(KJ_ASSERT_NONNULL(fd), F_DUPFD_CLOEXEC, 3));
      return kj::AutoCloseFd(copy);
    }
    KJ_FAIL_REQUIRE("no such descriptor", name);
  }

  void killShim() {
    KJ_SYSCALL(kill(shimPid, SIGKILL));
    EXPECT_EQ(waitForShim(), 137);
    hangUp();
  }

  // What a supervisor does when a shim is dead for good.
  void clearAway() {
    auto hierarchies = CgroupHierarchies::discover();
    auto folder = openFolder(podDirectory());
    EngineContext context{io.unixEventPort, io.provider->getTimer(), hierarchies, folder};
    auto cgroup = Cgroup::open(hierarchies, cgroupPath);
    cgroup->kill();
    await(cgroup->whenEmpty(context));
    cgroup->remove();
    capnp::MallocMessageBuilder message;
    auto spec = message.initRoot<PodSpec>();
    fillPod(spec);
    await(removePodNamespaces(context, spec));
    unpinPidfd(openFolder(podDirectory() + "/a"), "pidfd");
    for (auto& entry : std::filesystem::directory_iterator(podDirectory())) {
      std::filesystem::remove_all(entry.path());
    }
  }

  static kj::AutoCloseFd openFolder(const std::string& path) {
    int fd;
    KJ_SYSCALL(fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), path.c_str());
    return kj::AutoCloseFd(fd);
  }
};

TEST_F(ShimKillTest, ASuccessorsLogHasNoGapAndNoRepeat) {
  createPod();
  auto script = kj::str("i=0; while [ $i -lt ", LINES, " ]; do echo $i; i=$((i+1)); done");
  auto container = create("a", script);
  auto out = duplicateOf(container, "a/stdout");
  auto err = duplicateOf(container, "a/stderr");
  start(container);
  awaitLog("a", "stdout F 1000\n");
  killShim();
  ASSERT_EQ(logOf("a").find(kj::str("F ", LINES - 1, "\n").cStr()), std::string::npos)
      << "it was killed while the container wrote";

  {
    auto folder = openFolder(podDirectory() + "/a");
    auto positionFile = LogPositionFile::open(folder, "log-position");
    auto position = KJ_ASSERT_NONNULL(positionFile.load());
    auto outSpool = Spool::open(folder, "stdout.spool", position.spooled[0]);
    auto errSpool = Spool::open(folder, "stderr.spool", position.spooled[1]);
    auto disk = newLogDisk(io.unixEventPort);
    auto& timer = io.provider->getTimer();
    ContainerLog log(*disk, timer, kj::mv(positionFile), logPathOf("a").c_str(), 16384, outSpool,
                     errSpool);
    auto failure = await(log.resume(position));
    ASSERT_TRUE(failure == nullptr);
    OutputReader outReader(io.unixEventPort, timer, kj::mv(out), OutputReader::Source::FIFO,
                           outSpool, log, LogStream::OUT);
    OutputReader errReader(io.unixEventPort, timer, kj::mv(err), OutputReader::Source::FIFO,
                           errSpool, log, LogStream::ERR);
    // The container has ended, and its FIFOs with it.
    await(log.whenFinished());
  }
  std::string expected;
  for (int i = 0; i < LINES; i++)
    expected += "stdout F " + std::to_string(i) + "\n";
  EXPECT_TRUE(logOf("a") == expected) << "a line is missing, torn or there twice";
  clearAway();
}

}  // namespace
}  // namespace belay::shim
