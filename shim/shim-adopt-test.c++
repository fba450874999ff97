// A shim is killed and another one takes its pod over: containers, logs, streams, exit codes.
#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <map>

#include "shim/engine/cgroup.h"
#include "shim/file-server.h"
#include "shim/record.h"
#include "shim/shim-test-fixture.h"
#include "shim/stdio/descriptors.h"

namespace belay::shim {
namespace {

namespace fs = std::filesystem;

class ShimAdoptTest : public ShimTest {
 protected:
  void SetUp() override {
    // As the supervisor is: what a killed shim leaves comes to this process.
    KJ_SYSCALL(prctl(PR_SET_CHILD_SUBREAPER, 1));
    ShimTest::SetUp();
  }

  // What a supervisor does that has lived all the while.
  enum class Duplicates { HELD, LOST };
  void killAndSucceed(Duplicates duplicates = Duplicates::HELD) {
    if (duplicates == Duplicates::HELD) hold();
    killShim();
    succeed();
  }

  void hold() {
    auto response = await(shim().descriptorsRequest().send());
    for (auto descriptor : response.getDescriptors()) {
      auto fd = await(descriptor.getFile().getFd());
      held[descriptor.getName().cStr()] = duplicate(KJ_ASSERT_NONNULL(fd));
    }
  }

  void killShim() {
    KJ_SYSCALL(kill(shimPid, SIGKILL));
    EXPECT_EQ(waitForShim(), 137);
    hangUp();
  }

  void succeed() {
    launch();
    auto request = shim().inheritRequest();
    auto list = request.initDescriptors(held.size());
    uint i = 0;
    for (auto& [name, fd] : held) {
      list[i].setName(name);
      list[i++].setFile(kj::heap<FileServer>(duplicate(fd)));
    }
    await(request.send().ignoreResult());
    held.clear();
    auto response = await(adoptRequest().send());
    expectDone(response.getOutcome());
    EXPECT_TRUE(response.getState().getCreated());
  }

  capnp::Request<Shim::AdoptParams, Shim::AdoptResults> adoptRequest() {
    auto request = shim().adoptRequest();
    auto exits = request.initExits(reaped.size());
    uint i = 0;
    for (auto& [pid, code] : reaped) {
      exits[i].setPid(pid);
      exits[i++].setCode(code);
    }
    return request;
  }

  // Of an orphan, once it exits.
  void reap(pid_t pid) {
    int status;
    KJ_SYSCALL(waitpid(pid, &status, 0), pid);
    reaped[pid] = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  void tellOfExit(pid_t pid) {
    auto request = shim().orphanExitedRequest();
    auto exit = request.initExit();
    exit.setPid(pid);
    exit.setCode(reaped.at(pid));
    await(request.send().ignoreResult());
  }

  Container::Client find(kj::StringPtr id) {
    auto request = shim().containerRequest();
    request.setId(id);
    auto response = await(request.send());
    expectDone(response.getOutcome());
    return response.getContainer();
  }

  pid_t pidOf(Container::Client container) {
    return await(container.stateRequest().send()).getState().getPid();
  }
  Stage stageOf(Container::Client container) {
    return await(container.stateRequest().send()).getState().getStage();
  }

  // By way of the process: overlay does not see what is done to its upper folder from outside.
  static void letGo(pid_t pid) {
    int fd;
    KJ_SYSCALL(fd = open(kj::str("/proc/", pid, "/root/tmp/go").cStr(),
                         O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    kj::AutoCloseFd own(fd);
  }

  // What there is of a container that a shim has just begun to make.
  void makeFolderWithCgroup(const std::string& id) {
    auto folder = podDirectory() + "/" + id;
    fs::create_directory(folder);
    capnp::MallocMessageBuilder message;
    auto spec = message.initRoot<ContainerSpec>();
    spec.setId(id);
    spec.setCgroupPath(cgroupPath + "/" + id);
    int fd;
    KJ_SYSCALL(fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    kj::AutoCloseFd own(fd);
    writeRecord(fd, "spec", message);
    Cgroup::create(CgroupHierarchies::discover(), spec.getCgroupPath());
  }

  std::map<std::string, kj::AutoCloseFd> held;
  std::map<pid_t, int> reaped;
};

constexpr kj::StringPtr WAIT = "while [ ! -e /tmp/go ]; do sleep 0.01; done; "_kj;

TEST_F(ShimAdoptTest, ALogHasNoGapAndNoRepeatAndTheExitCodeIsRight) {
  constexpr int LINES = 30000;
  createPod();
  auto script =
      kj::str("i=0; while [ $i -lt ", LINES, " ]; do echo $i; i=$((i+1)); done; ", WAIT, "exit 42");
  auto pid = pidOf(run("a", script));
  for (int part = 1; part <= 3; part++) {
    awaitLog("a", kj::str("stdout F ", 2000 * part, "\n").cStr());
    killAndSucceed();
    ASSERT_EQ(pidOf(find("a")), pid);
    EXPECT_EQ(await(shim().infoRequest().send()).getGeneration(), part);
  }
  auto exit = find("a").waitRequest().send();
  letGo(pid);
  reap(pid);
  tellOfExit(pid);
  EXPECT_EQ(await(kj::mv(exit)).getExit().getCode(), 42);
  std::string expected;
  for (int i = 0; i < LINES; i++)
    expected += "stdout F " + std::to_string(i) + "\n";
  EXPECT_TRUE(logOf("a") == expected) << "a line is missing, torn or there twice";
}

TEST_F(ShimAdoptTest, AnExitWithoutAShimIsTakenOverWithTheLastWords) {
  createPod();
  auto pid = pidOf(run("a", kj::str(WAIT, "echo last words; exit 7")));
  hold();
  killShim();
  letGo(pid);
  reap(pid);
  succeed();
  auto response = exitOf(find("a"));
  auto exit = response.getExit();
  EXPECT_EQ(exit.getCode(), 7);
  EXPECT_TRUE(exit.getKnown());
  EXPECT_EQ(logOf("a"), "stdout F last words\n");
}

TEST_F(ShimAdoptTest, ThePinTellsHowOneEndedOfWhomNobodyHeldAPidfd) {
  createPod();
  auto pid = pidOf(run("a", kj::str(WAIT, "exit 7")));
  killShim();
  letGo(pid);
  reap(pid);
  reaped.clear();
  succeed();
  auto response = exitOf(find("a"));
  auto exit = response.getExit();
  if (!exit.getKnown()) GTEST_SKIP() << "the kernel is older than 6.15";
  EXPECT_EQ(exit.getCode(), 7);
}

TEST_F(ShimAdoptTest, AnOrphanOfAnOrphanLeavesNothing) {
  createPod();
  auto pid = pidOf(run("a", kj::str("sleep 1000 & ", WAIT, "exit 3")));
  killAndSucceed(Duplicates::LOST);
  auto exit = find("a").waitRequest().send();
  letGo(pid);
  reap(pid);
  tellOfExit(pid);
  EXPECT_EQ(await(kj::mv(exit)).getExit().getCode(), 3);
}

TEST_F(ShimAdoptTest, WhatHadExitedBeforeIsAsItWas) {
  createPod();
  auto before = exitOf(run("a", "echo one; exit 5"));
  killAndSucceed();
  auto state = await(find("a").stateRequest().send());
  EXPECT_EQ(state.getState().getStage(), Stage::EXITED);
  EXPECT_EQ(state.getState().getExit().getCode(), 5);
  EXPECT_EQ(state.getState().getExit().getFinishedAtNs(), before.getExit().getFinishedAtNs());
  EXPECT_EQ(logOf("a"), "stdout F one\n");
}

TEST_F(ShimAdoptTest, AContainerAtItsGateCanBeStarted) {
  createPod();
  create("a", "echo started; exit 9");
  killAndSucceed();
  auto container = find("a");
  EXPECT_EQ(stageOf(container), Stage::CREATED);
  auto pid = pidOf(container);
  start(container);
  reap(pid);
  tellOfExit(pid);
  EXPECT_EQ(exitOf(container).getExit().getCode(), 9);
  EXPECT_EQ(logOf("a"), "stdout F started\n");
}

TEST_F(ShimAdoptTest, AContainerWhoseGateNobodyHeldHasNeverRun) {
  createPod();
  auto pid = pidOf(create("a", "echo never"));
  killShim();
  reap(pid);
  succeed();
  auto response = exitOf(find("a"));
  auto exit = response.getExit();
  EXPECT_STREQ(exit.getReason().cStr(), "StartError");
  EXPECT_EQ(logOf("a"), "");
}

TEST_F(ShimAdoptTest, ATerminalAndAnInputStayOpen) {
  createPod();
  auto withStdin = [](ContainerSpec::Builder spec) { spec.setStdin(true); };
  auto withTerminal = [](ContainerSpec::Builder spec) { spec.getProcess().setTerminal(true); };
  auto terminal = pidOf(run("terminal", kj::str(WAIT, "echo still here; exit 4"), withTerminal));
  auto input = pidOf(run("input", "read line; echo got $line; exit 6", withStdin));
  hold();
  auto writer = duplicate(held.at("input/stdin"));
  killShim();
  succeed();
  letGo(terminal);
  KJ_SYSCALL(write(writer, "word\n", 5));
  reap(terminal);
  reap(input);
  tellOfExit(terminal);
  tellOfExit(input);
  EXPECT_EQ(exitOf(find("terminal")).getExit().getCode(), 4);
  EXPECT_EQ(exitOf(find("input")).getExit().getCode(), 6);
  EXPECT_EQ(logOf("terminal"), "stdout F still here\n");
  EXPECT_EQ(logOf("input"), "stdout F got word\n");
}

TEST_F(ShimAdoptTest, ExecStopAndNewContainersWorkAsBefore) {
  createPod();
  auto pid = pidOf(run("a", "trap 'exit 8' TERM; while :; do sleep 0.01; done"));
  killAndSucceed();
  auto container = find("a");
  auto answer = await(execSync(container, "echo inside; exit 3"));
  EXPECT_EQ(answer.results.getExitCode(), 3);
  EXPECT_EQ(answer.out, "inside\n");
  auto another = run("b", "exit 2");
  EXPECT_EQ(exitOf(another).getExit().getCode(), 2);

  auto stop = container.stopRequest();
  stop.setSignal(SIGTERM);
  stop.setGraceMs(20'000);
  auto stopped = stop.send();
  stopped.poll(io.waitScope);
  // The call is on its way; the process ends by it.
  io.provider->getTimer().afterDelay(1 * kj::MILLISECONDS).wait(io.waitScope);
  reap(pid);
  tellOfExit(pid);
  expectDone(await(kj::mv(stopped)).getOutcome());
  EXPECT_EQ(exitOf(container).getExit().getCode(), 8);
}

TEST_F(ShimAdoptTest, AHalfMadeContainerIsTakenAway) {
  createPod();
  auto pid = pidOf(run("a", "sleep 1000"));
  killShim();
  // As one is that was just begun.
  makeFolderWithCgroup("half");
  fs::create_directory(podDirectory() + "/bare");
  succeed();
  auto request = shim().containerRequest();
  request.setId("half");
  expectFailed(await(request.send()).getOutcome(), Failure::Code::NOT_FOUND);
  auto removal = find("a").removeRequest().send();
  removal.poll(io.waitScope);
  io.provider->getTimer().afterDelay(1 * kj::MILLISECONDS).wait(io.waitScope);
  reap(pid);
  expectDone(await(kj::mv(removal)).getOutcome());
}

TEST_F(ShimAdoptTest, APodHasOneShimAtMost) {
  createPod();
  auto first = shimPid;
  auto connection = connect();
  launch();
  EXPECT_EQ(waitForShim(), 75);
  shimPid = first;
  hangUp();
  EXPECT_TRUE(await(connection->shim.stateRequest().send()).getState().getCreated());
}

TEST_F(ShimAdoptTest, RecordsOfOthersAreRefused) {
  auto response = await(shim().adoptRequest().send());
  expectFailed(response.getOutcome(), Failure::Code::FAILED_PRECONDITION);
  createPod();
}

}  // namespace
}  // namespace belay::shim
