// System tests of containers that share a pid namespace: with the pod, with another container, with
// the host.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "shim/engine/engine-test-fixture.h"
#include "shim/engine/first-of-namespace.h"
#include "shim/engine/text-file.h"
#include "shim/sys/pidfd.h"

namespace belay::shim {
namespace {

class PidNamespaceTest : public EngineTest {
 protected:
  ~PidNamespaceTest() noexcept override {}

  void TearDown() override {
    other = Prepared();
    EngineTest::TearDown();
  }

  pid_t podInit() {
    auto path = kj::str(podSpec().getCgroupPath(), "/init-pod");
    return firstOfNamespace(*Cgroup::open(hierarchies, path));
  }

  // Starts a container that sleeps, then makes the spec one for a second container.
  void startFirst() {
    setCommand(containerSpec().getProcess(), {"sleep"_kj, "1000"_kj});
    other = prepareWell();
    EXPECT_TRUE(releaseGate(context, other).wait(wait) == nullptr);
    auto rootfs = containerSpec().getRootfs();
    for (auto name : {"upper2", "work2"}) {
      std::filesystem::create_directories(kj::str(directory, "/", name).cStr());
    }
    rootfs.setUpper(kj::str(directory, "/upper2"));
    rootfs.setWork(kj::str(directory, "/work2"));
  }

  Prepared other;
};

TEST_F(PidNamespaceTest, ContainersOfAPodShareOneWithItsInit) {
  podSpec().setPid(NamespaceMode::POD);
  containerSpec().setPid(NamespaceMode::POD);
  startFirst();
  setScript(containerSpec().getProcess(),
            "head -c 8 /proc/1/cmdline; echo; cat /proc/[0-9]*/cmdline | grep -c sleep");
  EXPECT_EQ(run().output, "pod-init\n1\n");
}

TEST_F(PidNamespaceTest, TheInitHasNothing) {
  podSpec().setPid(NamespaceMode::POD);
  makePod();
  pid_t pid = podInit();
  auto proc = kj::str("/proc/", pid);
  auto status = readTextFile(AT_FDCWD, kj::str(proc, "/status"));
  for (auto line : {"CapPrm:\t0000000000000000"_kj, "CapBnd:\t0000000000000000"_kj,
                    "NoNewPrivs:\t1"_kj, "Seccomp:\t2"_kj, "Uid:\t65534\t65534"_kj}) {
    EXPECT_NE(strstr(status.cStr(), line.cStr()), nullptr) << line.cStr();
  }
  namespace fs = std::filesystem;
  EXPECT_TRUE(fs::is_empty(kj::str(proc, "/fd").cStr()));
  EXPECT_TRUE(fs::is_empty(kj::str(proc, "/root/").cStr()));
  EXPECT_EQ(fs::read_symlink(kj::str(proc, "/exe").cStr()), "/memfd:pod-init (deleted)");
  for (auto name : {"net", "ipc", "uts", "mnt", "pid", "cgroup"}) {
    EXPECT_NE(fs::read_symlink(kj::str(proc, "/ns/", name).cStr()),
              fs::read_symlink(kj::str("/proc/self/ns/", name).cStr()))
        << name;
  }
}

TEST_F(PidNamespaceTest, TheInitReapsOrphans) {
  podSpec().setPid(NamespaceMode::POD);
  containerSpec().setPid(NamespaceMode::POD);
  // The inner shell dies at once and leaves its child to the init, which is woken by its death;
  // what waits for that is the last command, on the init's list of children.
  setScript(containerSpec().getProcess(),
            "sh -c 'sleep 0.05 & echo $!' >/tmp/pid;"
            "while test -d /proc/$(cat /tmp/pid); do sleep 0.01; done; echo gone");
  EXPECT_EQ(run().output, "gone\n");
}

TEST_F(PidNamespaceTest, KillingTheInitEndsThePod) {
  podSpec().setPid(NamespaceMode::POD);
  containerSpec().setPid(NamespaceMode::POD);
  startFirst();
  kill(podInit(), SIGKILL);
  EXPECT_EQ(waitFor(other.pidfd), 128 + SIGKILL);
}

TEST_F(PidNamespaceTest, AContainerCanShareAnothers) {
  startFirst();
  containerSpec().setPid(NamespaceMode::TARGET);
  setScript(containerSpec().getProcess(), "ps -o comm; id -u; grep CapEff /proc/self/status");
  auto result =
      prepareContainer(context, containerSpec(), namespaces, *cgroup, newStdio(), other.pidfd.get())
          .wait(wait);
  ASSERT_TRUE(result.is<Prepared>()) << result.get<FailureValue>().message.cStr();
  EXPECT_EQ(finish(kj::mv(result.get<Prepared>())).output,
            "COMMAND\nsleep\nsh\nps\n0\nCapEff:\t00000000a80425fb\n");
}

TEST_F(PidNamespaceTest, AContainerCanUseTheHosts) {
  containerSpec().setPid(NamespaceMode::NODE);
  setScript(containerSpec().getProcess(), "readlink /proc/self; echo $$");
  auto prepared = prepareWell();
  auto pid = prepared.pid;
  EXPECT_TRUE(finish(kj::mv(prepared)).output.endsWith(kj::str(pid, "\n")));
}

TEST_F(PidNamespaceTest, OneThatIsMissingIsNeverTheHosts) {
  containerSpec().setPid(NamespaceMode::POD);
  EXPECT_TRUE(prepare().is<FailureValue>());
  containerSpec().setPid(NamespaceMode::TARGET);
  EXPECT_TRUE(prepare().is<FailureValue>());
}

TEST_F(PidNamespaceTest, AFailingMountInASharedOneIsTold) {
  containerSpec().setPid(NamespaceMode::NODE);
  auto mount = addMount("/proc/no-such-file");
  mount.getKind().initBind().setSource(imagePath("etc/group"));
  auto result = prepare();
  ASSERT_TRUE(result.is<FailureValue>());
  EXPECT_EQ(result.get<FailureValue>().step, "make the mount point");
}

}  // namespace
}  // namespace belay::shim
