// A pod's life through the real binary: containers come, run, are stopped and go; supervisors come
// and go meanwhile.
#include <capnp/serialize.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "shim/shim-test-fixture.h"

namespace belay::shim {
namespace {

// Remembers what a watcher is told.
class TestWatcher final : public Watcher::Server {
 public:
  struct Seen {
    std::string exited;       // "id=code," in order
    std::string descriptors;  // names, in order
    kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> onExit;
  };
  explicit TestWatcher(Seen& seen) : seen(seen) {}

  kj::Promise<void> changed(ChangedContext context) override {
    auto state = context.getParams().getState();
    if (state.getStage() == Stage::EXITED) {
      seen.exited +=
          std::string(state.getId().cStr()) + "=" + std::to_string(state.getExit().getCode()) + ",";
      KJ_IF_MAYBE (fulfiller, seen.onExit) (*fulfiller)->fulfill();
    }
    return kj::READY_NOW;
  }

  kj::Promise<void> descriptors(DescriptorsContext context) override {
    for (auto descriptor : context.getParams().getDescriptors()) {
      seen.descriptors += std::string(descriptor.getName().cStr()) + ",";
    }
    return kj::READY_NOW;
  }

 private:
  Seen& seen;
};

TEST_F(ShimTest, SaysWhoItIs) {
  auto info = await(shim().infoRequest().send());
  EXPECT_EQ(info.getProtocolVersion(), PROTOCOL_VERSION);
  EXPECT_EQ(info.getPid(), shimPid);
  EXPECT_EQ(info.getPodId(), "pod-1");
}

TEST_F(ShimTest, RunsAContainerAndLogsWhatItWrites) {
  createPod();
  auto container = run("a", "echo hello; echo oops >&2; echo -n end; exit 3");
  auto exit = exitOf(container);
  EXPECT_EQ(exit.getExit().getCode(), 3);
  EXPECT_EQ(exit.getExit().getSignal(), 0);
  EXPECT_FALSE(exit.getExit().getOomKilled());
  auto log = logOf("a");
  EXPECT_NE(log.find("stdout F hello\n"), std::string::npos) << log;
  EXPECT_NE(log.find("stderr F oops\n"), std::string::npos) << log;
  EXPECT_NE(log.find("stdout P end\n"), std::string::npos) << log;

  auto state = await(container.stateRequest().send());
  EXPECT_EQ(state.getState().getStage(), Stage::EXITED);
  EXPECT_EQ(state.getState().getPid(), 0);
  EXPECT_GT(state.getState().getStartedAtNs(), state.getState().getCreatedAtNs());
  EXPECT_GE(state.getState().getExit().getFinishedAtNs(), state.getState().getStartedAtNs());
}

TEST_F(ShimTest, TheRecordOnDiskSaysWhatTheStateSays) {
  createPod();
  exitOf(run("a", "exit 3"));
  int fd;
  KJ_SYSCALL(fd = open((podDirectory() + "/state").c_str(), O_RDONLY | O_CLOEXEC));
  kj::AutoCloseFd file(fd);
  capnp::StreamFdMessageReader message(fd);
  auto record = message.getRoot<ShimRecord>();
  EXPECT_EQ(record.getShimPid(), shimPid);
  EXPECT_EQ(record.getSpec().getHostname(), "web-0");
  ASSERT_EQ(record.getPod().getContainers().size(), 1u);
  EXPECT_EQ(record.getPod().getContainers()[0].getExit().getCode(), 3);
}

TEST_F(ShimTest, LimitsChangeUntilTheContainerHasExited) {
  createPod();
  auto container = create("a", "sleep 1000");
  auto change = [&](kj::StringPtr cpus) {
    auto request = container.updateResourcesRequest();
    request.initResources().setCpusetCpus(cpus);
    request.setOomScoreAdj(800);
    request.setSetOomScoreAdj(true);
    return await(request.send());
  };
  expectDone(change("0").getOutcome());
  start(container);
  expectDone(change("0").getOutcome());
  auto pid = await(container.stateRequest().send()).getState().getPid();
  EXPECT_EQ(readFile("/proc/" + std::to_string(pid) + "/oom_score_adj"), "800\n");

  auto refused = change("4000");
  expectFailed(refused.getOutcome(), Failure::Code::INVALID_ARGUMENT);
  std::string message = refused.getOutcome().getFailed().getMessage().cStr();
  EXPECT_NE(message.find("cpuset.cpus"), std::string::npos) << message;

  await(container.stopRequest().send());
  expectFailed(change("0").getOutcome(), Failure::Code::FAILED_PRECONDITION);
  await(container.removeRequest().send());
  expectFailed(change("0").getOutcome(), Failure::Code::NOT_FOUND);
}

TEST_F(ShimTest, CreationAndStartMayBeRepeated) {
  createPod();
  createPod();
  auto one = create("a", "cat", [](auto spec) { spec.setStdin(true); });
  auto two = create("a", "cat", [](auto spec) { spec.setStdin(true); });
  start(one);
  start(two);
  auto first = await(one.stateRequest().send());
  auto second = await(two.stateRequest().send());
  EXPECT_EQ(first.getState().getPid(), second.getState().getPid());
  EXPECT_EQ(first.getState().getStage(), Stage::RUNNING);
}

TEST_F(ShimTest, AMissingCommandIsNotFoundAndTheContainerExits127) {
  createPod();
  auto container = create("a", "", [](auto spec) {
    spec.getProcess().initArgs(1).set(0, "/no/such/command"_kj.asBytes());
  });
  auto started = await(container.startRequest().send());
  expectFailed(started.getOutcome(), Failure::Code::NOT_FOUND);
  auto exit = exitOf(container);
  EXPECT_EQ(exit.getExit().getCode(), 127);
  EXPECT_EQ(exit.getExit().getReason(), "StartError");
}

TEST_F(ShimTest, AFailedCreationLeavesNothing) {
  createPod();
  auto response = tryCreate(
      "a", "true", [](auto spec) { spec.getRootfs().initLower(1).set(0, "/no/such/layer"); });
  ASSERT_TRUE(response.getOutcome().isFailed());
  EXPECT_FALSE(std::filesystem::exists(podDirectory() + "/a"));
  EXPECT_FALSE(std::filesystem::exists(logPathOf("a")));
  EXPECT_EQ(exitOf(run("a", "exit 4")).getExit().getCode(), 4);
}

TEST_F(ShimTest, ALimitThatTheKernelRefusesIsAnInvalidArgument) {
  createPod();
  auto response =
      tryCreate("a", "true", [](auto spec) { spec.initResources().setCpusetCpus("9999"); });
  expectFailed(response.getOutcome(), Failure::Code::INVALID_ARGUMENT);
  EXPECT_FALSE(std::filesystem::exists(podDirectory() + "/a"));
}

TEST_F(ShimTest, AnIdIsNoPath) {
  createPod();
  for (auto id : {"../a", "a/b", "..", "state", ""}) {
    auto response = tryCreate("a", "true", [id](auto spec) { spec.setId(id); });
    expectFailed(response.getOutcome(), Failure::Code::INVALID_ARGUMENT);
  }
}

TEST_F(ShimTest, ACancelledCreationLeavesNothing) {
  createPod();
  {
    auto request = shim().createContainerRequest();
    auto spec = request.initSpec();
    spec.setId("a");
    spec.setCgroupPath(cgroupPath + "/a");
    auto dropped = request.send();
  }
  EXPECT_EQ(exitOf(run("a", "exit 4")).getExit().getCode(), 4);
}

TEST_F(ShimTest, AContainerThatHasExitedCannotBeStartedAgain) {
  createPod();
  auto container = run("a", "true");
  exitOf(container);
  expectFailed(await(container.startRequest().send()).getOutcome(),
               Failure::Code::FAILED_PRECONDITION);
}

TEST_F(ShimTest, StopSendsTheSignalAndWaits) {
  createPod();
  auto container = run("a", "trap 'exit 5' TERM; echo ready; while true; do sleep 0.05; done");
  awaitLog("a", "ready");
  auto request = container.stopRequest();
  request.setSignal(SIGTERM);
  request.setGraceMs(20'000);
  expectDone(await(request.send()).getOutcome());
  EXPECT_EQ(exitOf(container).getExit().getCode(), 5);
}

TEST_F(ShimTest, AShorterStopWinsOverALongerOne) {
  createPod();
  auto container = run("a", "trap '' TERM; echo ready; while true; do sleep 0.05; done");
  awaitLog("a", "ready");
  auto patient = container.stopRequest();
  patient.setSignal(SIGTERM);
  patient.setGraceMs(3'600'000);
  auto waiting = patient.send();
  auto hasty = container.stopRequest();
  hasty.setSignal(SIGTERM);
  hasty.setGraceMs(10);
  expectDone(await(hasty.send()).getOutcome());
  expectDone(await(kj::mv(waiting)).getOutcome());
  EXPECT_EQ(exitOf(container).getExit().getCode(), 137);
  EXPECT_EQ(exitOf(container).getExit().getSignal(), SIGKILL);
}

TEST_F(ShimTest, StopTakesBackgroundProcessesToo) {
  createPod();
  auto container = run("a", "setsid sleep 1000 & echo ready; exec sleep 1000");
  awaitLog("a", "ready");
  auto request = container.stopRequest();
  expectDone(await(request.send()).getOutcome());
  // TearDown sees that the cgroup can be removed: nothing lives in it.
}

TEST_F(ShimTest, ContainersMayShareThePodsProcesses) {
  createPod([](auto pod) { pod.setPid(NamespaceMode::POD); });
  auto inPod = [](auto spec) { spec.setPid(NamespaceMode::POD); };
  run("a", "echo ready; exec sleep 1234", inPod);
  awaitLog("a", "ready");
  auto second = run("b", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '; echo", inPod);
  EXPECT_EQ(exitOf(second).getExit().getCode(), 0);
  EXPECT_NE(logOf("b").find("sleep 1234"), std::string::npos) << logOf("b");
}

TEST_F(ShimTest, AContainerMayJoinAnothersProcesses) {
  createPod();
  auto target = run("a", "echo ready; exec sleep 1234");
  awaitLog("a", "ready");
  auto joins = [](auto spec) {
    spec.setPid(NamespaceMode::TARGET);
    spec.setTargetContainerId("a");
  };
  auto debugger = run("b", "cat /proc/1/cmdline | tr '\\0' ' '; echo", joins);
  EXPECT_EQ(exitOf(debugger).getExit().getCode(), 0);
  EXPECT_NE(logOf("b").find("sleep 1234"), std::string::npos) << logOf("b");

  await(target.stopRequest().send());
  expectFailed(tryCreate("c", "true", joins).getOutcome(), Failure::Code::FAILED_PRECONDITION);
}

TEST_F(ShimTest, AnOomKillIsTold) {
  createPod();
  auto container = run("a", "tail /dev/zero",
                       [](auto spec) { spec.initResources().setMemoryLimitBytes(16 << 20); });
  auto exit = exitOf(container);
  EXPECT_NE(exit.getExit().getCode(), 0);
  EXPECT_TRUE(exit.getExit().getOomKilled());
}

TEST_F(ShimTest, LifeGoesOnWithoutASupervisor) {
  createPod();
  run("a", "echo one; read line; echo two; exit 6", [](auto spec) { spec.setStdin(true); });
  awaitLog("a", "one");
  hangUp();
  {
    int stdin;
    KJ_SYSCALL(stdin = open((podDirectory() + "/a/stdin").c_str(), O_WRONLY | O_CLOEXEC));
    kj::AutoCloseFd file(stdin);
    KJ_SYSCALL(write(stdin, "go\n", 3));
  }
  awaitLog("a", "two");

  auto second = connect();
  TestWatcher::Seen seen;
  auto paf = kj::newPromiseAndFulfiller<void>();
  seen.onExit = kj::mv(paf.fulfiller);
  auto watch = second->shim.watchRequest();
  watch.setWatcher(kj::heap<TestWatcher>(seen));
  await(watch.send());
  await(kj::mv(paf.promise));
  EXPECT_EQ(seen.exited, "a=6,");

  auto lookup = second->shim.containerRequest();
  lookup.setId("a");
  auto found = await(lookup.send());
  expectDone(found.getOutcome());
  auto removal = await(found.getContainer().removeRequest().send());
  expectDone(removal.getOutcome());
}

TEST_F(ShimTest, AWatcherLearnsOfDescriptorsAndExits) {
  TestWatcher::Seen seen;
  auto paf = kj::newPromiseAndFulfiller<void>();
  seen.onExit = kj::mv(paf.fulfiller);
  auto watch = shim().watchRequest();
  watch.setWatcher(kj::heap<TestWatcher>(seen));
  await(watch.send());
  createPod();
  run("a", "exit 9");
  await(kj::mv(paf.promise));
  EXPECT_EQ(seen.exited, "a=9,");
  EXPECT_EQ(seen.descriptors.find("a/stdout,a/stderr,a/pidfd,"), 0u) << seen.descriptors;
}

TEST_F(ShimTest, DescriptorsAreDuplicatesOfTheRealThing) {
  createPod();
  auto container = run("a", "exec sleep 1000");
  auto response = await(container.descriptorsRequest().send());
  ASSERT_EQ(response.getDescriptors().size(), 3u);
  auto fd = await(response.getDescriptors()[0].getFile().getFd());
  struct stat ours, named;
  KJ_SYSCALL(fstat(KJ_ASSERT_NONNULL(fd), &ours));
  KJ_SYSCALL(stat((podDirectory() + "/a/stdout").c_str(), &named));
  EXPECT_TRUE(S_ISFIFO(ours.st_mode));
  EXPECT_EQ(ours.st_ino, named.st_ino);
}

TEST_F(ShimTest, ARemovedContainerIsNotFound) {
  createPod();
  auto container = run("a", "exec sleep 1000");
  expectDone(await(container.removeRequest().send()).getOutcome());
  expectDone(await(container.removeRequest().send()).getOutcome());
  expectFailed(await(container.startRequest().send()).getOutcome(), Failure::Code::NOT_FOUND);
  auto lookup = shim().containerRequest();
  lookup.setId("a");
  expectFailed(await(lookup.send()).getOutcome(), Failure::Code::NOT_FOUND);
  EXPECT_FALSE(std::filesystem::exists(podDirectory() + "/a"));
}

TEST_F(ShimTest, RemovingThePodTakesRunningContainersWithIt) {
  createPod();
  run("a", "exec sleep 1000");
  create("b", "exec sleep 1000");
  expectDone(await(shim().removePodRequest().send()).getOutcome());
  hangUp();
  EXPECT_EQ(waitForShim(), 0);
}

TEST_F(ShimTest, AShimWithoutAPodEndsWhenItsSupervisorIsGone) {
  await(shim().infoRequest().send());
  hangUp();
  EXPECT_EQ(waitForShim(), 0);
}

TEST_F(ShimTest, AnIdleShimIsSmall) {
#if __has_feature(address_sanitizer) || __has_feature(undefined_behavior_sanitizer)
  GTEST_SKIP() << "sanitizers need memory of their own";
#endif
  createPod();
  auto container = run("a", "exec sleep 1000");
  await(execSync(container, "echo warm"));
  auto smaps = readFile("/proc/" + std::to_string(shimPid) + "/smaps_rollup");
  auto at = smaps.find("Private_Dirty:");
  ASSERT_NE(at, std::string::npos) << smaps;
  auto privateKib = std::stoul(smaps.substr(at + strlen("Private_Dirty:")));
  RecordProperty("privateDirtyKib", std::to_string(privateKib));
  EXPECT_LT(privateKib, 300u) << smaps;
}

}  // namespace
}  // namespace belay::shim
