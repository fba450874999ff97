// What a container that may trace its neighbours (CAP_SYS_PTRACE) gets of the processes that it
// shares a pid namespace with: the pod's init, and other containers before they run.
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "shim/engine/engine-test-fixture.h"
#include "shim/engine/text-file.h"

namespace belay::shim {
namespace {

constexpr uint64_t TRACE = uint64_t(1) << CAP_SYS_PTRACE;

// The value of a line "Name:\tvalue" of /proc/PID/status; empty if the process is gone.
std::string statusOf(const std::string& pid, const std::string& name) {
  std::ifstream file("/proc/" + pid + "/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(name + ":\t")) return line.substr(name.size() + 2);
  }
  return "";
}

class PidIntruderTest : public EngineTest {
 protected:
  ~PidIntruderTest() noexcept override {}

  void SetUp() override {
    EngineTest::SetUp();
    if (IsSkipped()) return;
    podSpec().setPid(NamespaceMode::POD);
    containerSpec().setPid(NamespaceMode::POD);
  }

  void TearDown() override {
    victim = Prepared();
    EngineTest::TearDown();
  }

  static void allowTracing(ProcessSpec::Builder process) {
    auto capabilities = process.getCapabilities();
    capabilities.setBounding(capabilities.getBounding() | TRACE);
    capabilities.setPermitted(capabilities.getPermitted() | TRACE);
    capabilities.setEffective(capabilities.getEffective() | TRACE);
  }

  void useAnotherRootfs(kj::StringPtr name) {
    auto rootfs = containerSpec().getRootfs();
    auto upper = kj::str(directory, "/upper-", name);
    auto work = kj::str(directory, "/work-", name);
    std::filesystem::create_directories(upper.cStr());
    std::filesystem::create_directories(work.cStr());
    rootfs.setUpper(upper);
    rootfs.setWork(work);
  }

  // What a container that may trace prints.
  std::string intrude(kj::StringPtr script) {
    useAnotherRootfs("intruder");
    setScript(containerSpec().getProcess(), script);
    allowTracing(containerSpec().getProcess());
    auto result = run();
    return result.output.cStr();
  }

  // A container that waits at its gate, and its pid in the shared namespace.
  std::string createVictim() {
    setCommand(containerSpec().getProcess(), {"sleep"_kj, "1000"_kj});
    victim = prepareWell();
    std::istringstream numbers(statusOf(std::to_string(victim.pid), "NSpid"));
    std::string first, second;
    numbers >> first >> second;
    EXPECT_EQ(first, std::to_string(victim.pid));
    EXPECT_NE(second, "");
    return second;
  }

  Prepared victim;
};

TEST_F(PidIntruderTest, TheInitHasNothingToTake) {
  auto output = intrude(
      "cd /proc/1; ls -A root/ fd/; cat environ; readlink cwd; readlink exe;"
      "cut -d' ' -f4-6,8 mountinfo; grep -v lo: net/dev | grep -c :");
  // Of network interfaces the pod has its loopback alone: another one would be the host's.
  EXPECT_EQ(output,
            "fd/:\n\nroot/:\n/\n/memfd:pod-init (deleted)\n"
            "/ / ro,nosuid,nodev,noexec,relatime tmpfs\n0\n");
}

TEST_F(PidIntruderTest, TheInitsMemoryIsItsOwnProgramAlone) {
  // Every mapping that can be read, of which the shim's copy would have megabytes.
  auto output = intrude(
      "cut -d' ' -f1 /proc/1/maps | while IFS=- read from to; do"
      "  n=$(( (0x$to - 0x$from) / 4096 ));"
      "  case $from in f*) continue;; esac;"
      "  dd if=/proc/1/mem bs=4096 skip=$((0x$from / 4096)) count=$n 2>/dev/null;"
      "done | tee /tmp/memory | wc -c; grep -c PodNamespaces /tmp/memory; grep -c pod-init "
      "/tmp/memory");
  std::istringstream lines(output);
  size_t bytes = 0;
  int ofTheShim = -1, ofTheInit = -1;
  lines >> bytes >> ofTheShim >> ofTheInit;
  EXPECT_GT(bytes, 0u) << output;
  EXPECT_LT(bytes, 256u << 10) << output;
  EXPECT_EQ(ofTheShim, 0);
  EXPECT_GT(ofTheInit, 0) << "its arguments are on its stack";
}

TEST_F(PidIntruderTest, TheInitIsNotForThoseWhoMayNotTrace) {
  setScript(
      containerSpec().getProcess(),
      "ls /proc/1/root/ /proc/1/fd/ /proc/1/map_files/ 2>&1 | grep -c denied;"
      "cat /proc/1/environ 2>&1 | grep -c denied; head -c 1 /proc/1/mem 2>&1 | grep -c denied");
  containerSpec().getProcess().getUser().setUid(65534);
  // It has the very same uid.
  EXPECT_EQ(run().output, "3\n1\n1\n");
}

TEST_F(PidIntruderTest, TheInitCannotBeSignalled) {
  EXPECT_EQ(intrude("for s in TERM KILL STOP INT HUP CHLD ALRM; do kill -$s 1; done;"
                    "until grep -q '^State:.S' /proc/1/status; do true; done; echo unharmed"),
            "unharmed\n");
}

TEST_F(PidIntruderTest, AContainerAtItsGateHasNothingButItsOwn) {
  hardenEngineProcess();
  auto pid = createVictim();
  auto output =
      intrude(kj::str("cd /proc/", pid.c_str(),
                      "; ls -A root/ | tr '\\n' ' '; readlink cwd; tr -d '\\0' <environ | wc -c;"
                      "grep Cap status | cut -f2 | tr '\\n' ' '; echo;"
                      "for f in fd/*; do readlink $f | cut -d: -f1; done | sort | tr '\\n' ' ';"
                      "cut -d' ' -f5 mountinfo | grep -vE '^/($|proc|dev|sys|tmp|etc)' | wc -l"));
  EXPECT_EQ(output,
            "bin dev etc proc sys tmp /\n0\n"
            "0000000000000000 00000000a80425fb 00000000a80425fb 00000000a80425fb "
            "0000000000000000 \npipe pipe pipe socket 0\n");
}

TEST_F(PidIntruderTest, AContainerAtItsGateHasForgottenTheShimsMemory) {
#if __has_feature(address_sanitizer)
  GTEST_SKIP() << "the sanitizer's allocator lives in the memory that is forgotten";
#endif
  hardenEngineProcess();
  // As another container's environment lies in the shim's heap. Put together here, since the
  // program's constants are in every copy of it.
  auto secret = kj::str("PASSWORD_OF_", "ANOTHER=", getpid());
  auto pid = createVictim();
  auto output =
      intrude(kj::str("grep -E '^[0-9a-f-]+ rw' /proc/", pid.c_str(), "/maps | cut -d' ' -f1 |",
                      " while IFS=- read from to; do"
                      "  dd if=/proc/",
                      pid.c_str(),
                      "/mem bs=4096 skip=$((0x$from / 4096))"
                      "     count=$(( (0x$to - 0x$from) / 4096 )) 2>/dev/null;"
                      "done | tee /tmp/memory | wc -c;"
                      "grep -c PASSWORD_OF_''ANOTHER=",
                      getpid(), " /tmp/memory; grep -c sleep /tmp/memory"));
  std::istringstream lines(output);
  size_t bytes = 0;
  int secrets = -1, commands = -1;
  lines >> bytes >> secrets >> commands;
  EXPECT_GT(bytes, 0u) << output;
  EXPECT_EQ(secrets, 0);
  EXPECT_GT(commands, 0) << "what it is about to run is in its memory";
  EXPECT_NE(secret, "");
}

TEST_F(PidIntruderTest, NobodyIsEverInASharedNamespaceWithMoreThanItMayKeep) {
  makePod();
  auto own = containerSpec().getProcess().getCapabilities().getPermitted();
  auto& unified = KJ_ASSERT_NONNULL(hierarchies.unified(), "needs a v2 hierarchy");
  std::string procs =
      kj::str(unified.mountPoint, containerSpec().getCgroupPath(), "/cgroup.procs").cStr();
  int ends[2];
  KJ_SYSCALL(pipe2(ends, O_CLOEXEC));
  pid_t watcher = fork();
  if (watcher == 0) {
    // Looks at every process of the container all the time. Its exit code is what it saw.
    constexpr int NOTHING = 2, PRIVILEGE = 1, WELL = 0;
    int seen = NOTHING;
    char end;
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    close(ends[1]);
    while (read(ends[0], &end, 1) < 0) {
      std::ifstream file(procs);
      for (std::string pid; file >> pid;) {
        std::istringstream numbers(statusOf(pid, "NSpid"));
        std::string first, second;
        // The capabilities are read first: a process does not get more of them later.
        auto permitted = statusOf(pid, "CapPrm");
        numbers >> first >> second;
        if (second.empty() || permitted.empty()) continue;
        if (seen == NOTHING) seen = WELL;
        if (std::stoull(permitted, nullptr, 16) & ~own) _exit(PRIVILEGE);
      }
    }
    _exit(seen);
  }
  close(ends[0]);
  setCommand(containerSpec().getProcess(), {"sleep"_kj, "1000"_kj});
  for (int i = 0; i < 40; ++i) {
    useAnotherRootfs(kj::str(i));
    auto prepared = prepareWell();
    KJ_SYSCALL(kill(prepared.pid, SIGKILL));
    waitFor(prepared.pidfd);
  }
  close(ends[1]);
  int status;
  KJ_SYSCALL(waitpid(watcher, &status, 0));
  EXPECT_EQ(status, 0) << "1: more privileges, 2: no process was seen";
}

}  // namespace
}  // namespace belay::shim
