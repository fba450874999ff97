// Who shares pid namespaces with whom, through the real binary.
#include <fcntl.h>
#include <kj/debug.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "shim/engine/first-of-namespace.h"
#include "shim/shim-test-fixture.h"

namespace belay::shim {
namespace {

class ShimPidsTest : public ShimTest {
 protected:
  static void usePods(ContainerSpec::Builder spec) { spec.setPid(NamespaceMode::POD); }

  static Change target(kj::StringPtr id) {
    return [id = kj::StringPtr(id)](ContainerSpec::Builder spec) {
      spec.setPid(NamespaceMode::TARGET);
      spec.setTargetContainerId(id);
    };
  }

  pid_t pidOf(Container::Client container) {
    return await(container.stateRequest().send()).getState().getPid();
  }

  static std::string pidNamespaceOf(pid_t pid) {
    return std::filesystem::read_symlink("/proc/" + std::to_string(pid) + "/ns/pid");
  }

  // The pod's init, in the host's pid namespace.
  pid_t init() {
    auto hierarchies = CgroupHierarchies::discover();
    return firstOfNamespace(*Cgroup::open(hierarchies, (cgroupPath + "/init-pod-1").c_str()));
  }

  static size_t kibOf(const std::string& text, const char* key) {
    auto at = text.find(key);
    KJ_REQUIRE(at != std::string::npos, key, text.c_str());
    return std::stoul(text.substr(at + strlen(key)));
  }
};

TEST_F(ShimPidsTest, ContainersOfAPodSeeEachOther) {
  createPod();
  auto first = run("a", "exec sleep 1000", usePods);
  auto second = run("b", "exec sleep 1001", usePods);
  EXPECT_EQ(pidNamespaceOf(pidOf(first)), pidNamespaceOf(init()));
  EXPECT_EQ(pidNamespaceOf(pidOf(second)), pidNamespaceOf(init()));
  auto answer = await(execSync(second,
                               "head -c 8 /proc/1/cmdline; echo;"
                               "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | tr -cd 01a-z"));
  EXPECT_EQ(answer.out.substr(0, 9), "pod-init\n") << answer.err;
  EXPECT_NE(answer.out.find("sleep1000"), std::string::npos) << answer.out;
  EXPECT_NE(answer.out.find("sleep1001"), std::string::npos) << answer.out;
}

TEST_F(ShimPidsTest, OneWithItsOwnIsAlone) {
  createPod();
  auto shared = run("a", "exec sleep 1000", usePods);
  auto own = run("b", "exec sleep 1000");
  EXPECT_NE(pidNamespaceOf(pidOf(own)), pidNamespaceOf(pidOf(shared)));
  auto answer = await(execSync(own, "echo /proc/[0-9]*"));
  EXPECT_EQ(answer.out.find("/proc/1 /proc/"), 0u) << answer.out;
}

TEST_F(ShimPidsTest, OrphansAreReaped) {
  createPod();
  // The inner shell leaves its child to the init. A zombie's folder would stay.
  auto container =
      run("a",
          "sh -c 'sleep 0.01 & echo $!' >/tmp/pid;"
          "while cat /proc/$(cat /tmp/pid)/stat >/dev/null 2>&1; do true; done; exit 7",
          usePods);
  EXPECT_EQ(exitOf(container).getExit().getCode(), 7);
}

TEST_F(ShimPidsTest, WithTheInitGoTheContainersAndNoneCanCome) {
  createPod();
  auto container = run("a", "exec sleep 1000", usePods);
  auto alone = run("b", "exec sleep 1000");
  KJ_SYSCALL(kill(init(), SIGKILL));
  EXPECT_EQ(exitOf(container).getExit().getSignal(), SIGKILL);
  auto response = tryCreate("c", "true", usePods);
  expectFailed(response.getOutcome(), Failure::Code::FAILED_PRECONDITION);
  EXPECT_GT(pidOf(alone), 0);
}

TEST_F(ShimPidsTest, ATargetsProcessesAreSeenButNotItsMasksMissed) {
  createPod();
  auto target = run("a", "exec sleep 1000");
  auto debugger = run("b", "exec sleep 1001", [&](ContainerSpec::Builder spec) {
    ShimPidsTest::target("a")(spec);
    spec.initMaskedPaths(1).set(0, "/proc/timer_list");
    spec.initReadonlyPaths(1).set(0, "/proc/sys");
  });
  EXPECT_EQ(pidNamespaceOf(pidOf(debugger)), pidNamespaceOf(pidOf(target)));
  auto answer =
      await(execSync(debugger,
                     "head -c 5 /proc/1/cmdline; echo; cat /proc/timer_list;"
                     "echo x 2>/dev/null >/proc/sys/kernel/domainname || echo read-only"));
  EXPECT_EQ(answer.out, "sleep\nread-only\n") << answer.err;
}

TEST_F(ShimPidsTest, ATargetMustRun) {
  createPod();
  expectFailed(tryCreate("b", "true", target("nobody")).getOutcome(),
               Failure::Code::FAILED_PRECONDITION);
  exitOf(run("a", "true"));
  expectFailed(tryCreate("b", "true", target("a")).getOutcome(),
               Failure::Code::FAILED_PRECONDITION);
}

TEST_F(ShimPidsTest, ATargetThatHidesItsProcIsRefused) {
  createPod();
  auto container = run("a", "mount -t tmpfs none /proc && echo hidden && exec sleep 1000",
                       [](ContainerSpec::Builder spec) {
                         auto capabilities = spec.getProcess().getCapabilities();
                         capabilities.setBounding(~0ull);
                         capabilities.setPermitted(~0ull);
                         capabilities.setEffective(~0ull);
                       });
  awaitLog("a", "hidden");
  auto response = tryCreate("b", "true", target("a"));
  expectFailed(response.getOutcome(), Failure::Code::FAILED_PRECONDITION);
  EXPECT_EQ(response.getOutcome().getFailed().getObject(), "/proc");
}

TEST_F(ShimPidsTest, APodOnTheHostsPidsSharesThose) {
  createPod([](PodSpec::Builder spec) { spec.setPid(NamespaceMode::NODE); });
  auto node = run("a", "exec sleep 1000",
                  [](ContainerSpec::Builder spec) { spec.setPid(NamespaceMode::NODE); });
  EXPECT_EQ(pidNamespaceOf(pidOf(node)), pidNamespaceOf(getpid()));
  auto shared = run("b", "exec sleep 1000", usePods);
  EXPECT_EQ(pidNamespaceOf(pidOf(shared)), pidNamespaceOf(getpid()));
  auto answer = await(execSync(shared, "echo $$; readlink /proc/self"));
  EXPECT_NE(answer.out, "") << answer.err;
  EXPECT_FALSE(std::filesystem::exists(podDirectory() + "/proc"));
}

TEST_F(ShimPidsTest, APodWithoutSharedPidsNeverGivesTheHosts) {
  createPod([](PodSpec::Builder spec) { spec.setPid(NamespaceMode::CONTAINER); });
  expectFailed(tryCreate("a", "true", usePods).getOutcome(), Failure::Code::FAILED_PRECONDITION);
}

TEST_F(ShimPidsTest, AModeThatIsNotAPodsIsRefused) {
  auto request = shim().createPodRequest();
  fillPod(request.initSpec());
  request.getSpec().setPid(NamespaceMode::TARGET);
  expectFailed(await(request.send()).getOutcome(), Failure::Code::INVALID_ARGUMENT);
  createPod();
}

TEST_F(ShimPidsTest, TheInitCostsPages) {
  createPod();
  auto rollup = readFile("/proc/" + std::to_string(init()) + "/smaps_rollup");
  RecordProperty("initRssKib", std::to_string(kibOf(rollup, "Rss:")));
  RecordProperty("initPssKib", std::to_string(kibOf(rollup, "Pss:")));
  EXPECT_LE(kibOf(rollup, "Rss:"), 64u) << rollup;
}

TEST_F(ShimPidsTest, TheShimsFileAndEnvironmentAreOutOfReach) {
  auto proc = "/proc/" + std::to_string(shimPid);
  await(shim().infoRequest().send());
  struct statvfs info;
  KJ_SYSCALL(statvfs((proc + "/exe").c_str(), &info));
  EXPECT_TRUE(info.f_flag & ST_RDONLY);
  EXPECT_LT(open((proc + "/exe").c_str(), O_WRONLY | O_CLOEXEC), 0);
  EXPECT_EQ(readFile(proc + "/comm"), "belay-shim\n");
  auto environment = readFile(proc + "/environ");
  EXPECT_GT(environment.size(), 0u) << "the test must have something to wipe";
  EXPECT_EQ(environment.find_first_not_of('\0'), std::string::npos);
}

}  // namespace
}  // namespace belay::shim
