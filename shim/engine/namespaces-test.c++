// System tests of the pod's namespaces.
#include "shim/engine/namespaces.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shim/engine/engine-test-fixture.h"
#include "shim/engine/text-file.h"

namespace belay::shim {
namespace {

class NamespacesTest : public EngineTest {
 protected:
  static ino_t inodeOf(int fd) {
    struct stat info;
    KJ_SYSCALL(fstat(fd, &info));
    return info.st_ino;
  }

  FailureValue failure() {
    auto result = makePodNamespaces(context, podSpec()).wait(wait);
    KJ_REQUIRE(result.is<FailureValue>(), "The namespaces were made.");
    EXPECT_EQ(waitpid(-1, nullptr, 0) > 0, true);
    return kj::mv(result.get<FailureValue>());
  }
};

TEST_F(NamespacesTest, AreFoundAgainByTheirPins) {
  makePod();
  auto again = openPodNamespaces(context, podSpec());
  EXPECT_EQ(inodeOf(again.net), inodeOf(namespaces.net));
  EXPECT_EQ(inodeOf(again.ipc), inodeOf(namespaces.ipc));
  EXPECT_EQ(inodeOf(again.uts), inodeOf(namespaces.uts));
}

TEST_F(NamespacesTest, HaveSysctlsAndLoopback) {
  auto sysctls = podSpec().initSysctls(2);
  sysctls[0].setName("net.ipv4.ip_unprivileged_port_start");
  sysctls[0].setValue("80");
  sysctls[1].setName("kernel.shm_rmid_forced");
  sysctls[1].setValue("1");
  setScript(containerSpec().getProcess(),
            "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shm_rmid_forced "
            "/sys/class/net/lo/flags; ls /sys/class/net");
  EXPECT_EQ(run().output, "80\n1\n0x9\nlo\n");
}

TEST_F(NamespacesTest, APodMayUseTheHosts) {
  auto spec = podSpec();
  spec.setNetwork(NamespaceMode::NODE);
  spec.setNetnsPath("");
  spec.setIpc(NamespaceMode::NODE);
  spec.setHostname("");
  char name[256];
  gethostname(name, sizeof(name));
  setScript(containerSpec().getProcess(),
            "hostname; ls /sys/class/net | head -1; test -d /dev/shm");
  auto result = run();
  EXPECT_EQ(result.code, 0);
  EXPECT_TRUE(result.output.startsWith(name)) << result.output.cStr();
  EXPECT_LT(namespaces.net.get(), 0);
  EXPECT_LT(namespaces.uts.get(), 0);
}

TEST_F(NamespacesTest, AnUnknownSysctlIsNamedAndNothingIsLeft) {
  auto sysctls = podSpec().initSysctls(1);
  sysctls[0].setName("net.ipv4.no_such_thing");
  EXPECT_EQ(failure().message,
            "Cannot set the sysctl net.ipv4.no_such_thing: No such file or directory.");
  EXPECT_NE(access(podSpec().getNetnsPath().cStr(), F_OK), 0);
}

TEST_F(NamespacesTest, ASysctlCannotNameAnotherFile) {
  auto sysctls = podSpec().initSysctls(1);
  sysctls[0].setName("////////sysrq-trigger");
  failure();
}

TEST_F(NamespacesTest, AreRemovedTwiceWithoutHarm) {
  makePod();
  removePodNamespaces(context, podSpec()).wait(wait);
  removePodNamespaces(context, podSpec()).wait(wait);
  EXPECT_THROW(openPodNamespaces(context, podSpec()), kj::Exception);
}

}  // namespace
}  // namespace belay::shim
