// A pod's network by real plug-ins: bridge, host-local, portmap, in network namespaces of the
// test's own. Needs root and the plug-ins of Debian's containernetworking-plugins; skips, saying
// so, without.
#include <capnp/message.h>
#include <fcntl.h>
#include <kj/async-io.h>
#include <kj/debug.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <set>
#include <sstream>

#include "supervisor/cni/cni.h"
#include "supervisor/cni/host-local-leases.h"
#include "supervisor/spec/expect-failure.h"

namespace belay::supervisor {
namespace {

constexpr auto PLUGINS = "/usr/lib/cni"_kj;

// The whole test process moves into network and mount namespaces of its own, so that bridges, rules
// and pins are nobody else's.
bool enterOwnNamespaces() {
  return unshare(CLONE_NEWNET | CLONE_NEWNS) == 0 &&
         mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
}

std::string read(const char* path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

kj::String newFolder() {
  auto folder = kj::str(::testing::TempDir(), "/cni-system-XXXXXX");
  KJ_ASSERT(mkdtemp(folder.begin()) != nullptr);
  return folder;
}

class CniSystem : public ::testing::Test {
 protected:
  ~CniSystem() noexcept override = default;

  void SetUp() override {
    for (auto plugin : {"bridge", "host-local", "portmap"}) {
      if (access(kj::str(PLUGINS, "/", plugin).cStr(), X_OK) != 0) {
        GTEST_SKIP() << "no " << plugin << " in " << PLUGINS.cStr()
                     << ": install containernetworking-plugins";
      }
    }
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    static bool entered = enterOwnNamespaces();
    if (!entered) GTEST_SKIP() << "cannot make network and mount namespaces here";
    pinNamespace();
    auto conf = kj::str(folder, "/conf");
    mkdir(conf.cStr(), 0700);
    std::ofstream(kj::str(conf, "/10-test.conflist").cStr()) << kj::str(R"({
      "name": "belay-test", "cniVersion": "0.4.0", "plugins": [
        {"type": "bridge", "bridge": "bly-test0", "isGateway": true,
         "ipam": {"type": "host-local", "dataDir": ")",
                                                                        folder, R"(/leases",
                  "ranges": [[{"subnet": "10.213.7.0/24"}]]}}]})")
                                                                    .cStr();
    pod.setName("web");
    pod.setNamespace("default");
    pod.setUid("u");
  }

  void TearDown() override { umount2(netns.cStr(), MNT_DETACH); }

  kj::String folder = newFolder();
  kj::String netns;
  kj::AsyncIoContext io = kj::setupAsyncIo();
  snapshot::Children children{io.unixEventPort};
  kj::Own<Cni> cni = kj::heap<Cni>(CniOptions{kj::str(folder, "/conf"), kj::arr(kj::str(PLUGINS)),
                                              30 * kj::SECONDS, kj::str(folder, "/marks")},
                                   children, io.provider->getTimer());
  capnp::MallocMessageBuilder message;
  PodConfig::Builder pod = message.initRoot<PodConfig>();

  // As a shim does: a child makes a namespace, its nsfs file is bound to a path.
  void pinNamespace() {
    netns = kj::str(folder, "/netns");
    close(open(netns.cStr(), O_RDONLY | O_CREAT | O_CLOEXEC, 0600));
    pid_t child = fork();
    if (child == 0) {
      bool done = unshare(CLONE_NEWNET) == 0 &&
                  mount("/proc/self/ns/net", netns.cStr(), nullptr, MS_BIND, nullptr) == 0;
      _exit(done ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    ASSERT_EQ(status, 0);
  }

  // Interfaces in the pinned namespace, as /proc/net/dev there lists them.
  std::string interfacesOfThePod() {
    auto out = kj::str(folder, "/interfaces");
    pid_t child = fork();
    if (child == 0) {
      int fd = open(netns.cStr(), O_RDONLY | O_CLOEXEC);
      if (setns(fd, CLONE_NEWNET) != 0) _exit(1);
      std::ofstream(out.cStr()) << read("/proc/thread-self/net/dev");
      _exit(0);
    }
    waitpid(child, nullptr, 0);
    return read(out.cStr());
  }

  bool leased(kj::StringPtr ip) {
    return access(kj::str(folder, "/leases/belay-test/", ip).cStr(), F_OK) == 0;
  }
};

TEST_F(CniSystem, PodGetsAnAddressAndGivesItBack) {
  auto readiness = cni->status().wait(io.waitScope);
  EXPECT_TRUE(readiness.ready) << readiness.message.cStr();
  EXPECT_EQ(readiness.network, "belay-test");

  auto attachment = cni->add(cni->prepare("pod-1", pod, netns)).wait(io.waitScope);
  ASSERT_EQ(attachment.get().getIps().size(), 1u);
  auto ip = kj::str(attachment.get().getIps()[0]);
  EXPECT_TRUE(ip.startsWith("10.213.7."));
  EXPECT_TRUE(leased(ip));
  EXPECT_THAT(interfacesOfThePod(), ::testing::HasSubstr("eth0:"));
  cni->check(attachment).wait(io.waitScope);

  cni->del(attachment).wait(io.waitScope);
  EXPECT_FALSE(leased(ip));
  EXPECT_THAT(interfacesOfThePod(), ::testing::Not(::testing::HasSubstr("eth0:")));
  cni->del(attachment).wait(io.waitScope);
}

TEST_F(CniSystem, AddressIsFreedWithTheNamespaceGone) {
  auto attachment = cni->add(cni->prepare("pod-2", pod, netns)).wait(io.waitScope);
  auto ip = kj::str(attachment.get().getIps()[0]);
  ASSERT_TRUE(leased(ip));
  ASSERT_EQ(umount2(netns.cStr(), MNT_DETACH), 0);
  cni->del(attachment).wait(io.waitScope);
  EXPECT_FALSE(leased(ip));
}

// A power cut left the file and not what is in it: DEL cannot know whose it is.
TEST_F(CniSystem, AddressThatLostItsOwnerIsFreedUnlessItIsBeingGiven) {
  auto attachment = cni->add(cni->prepare("pod-4", pod, netns)).wait(io.waitScope);
  auto ip = kj::str(attachment.get().getIps()[0]);
  auto leases = kj::str(folder, "/leases/belay-test/");
  std::ofstream(kj::str(leases, "10.213.7.200").cStr()) << "pod-5\r\neth0";
  std::ofstream(kj::str(leases, "10.213.7.201").cStr()) << std::string(70, '\0');
  ASSERT_EQ(truncate(kj::str(leases, ip).cStr(), 0), 0);
  ASSERT_EQ(umount2(netns.cStr(), MNT_DETACH), 0);

  auto list = parseNetworkList(attachment.get().getConflist());
  {
    kj::AutoCloseFd lock(open(kj::str(leases, "lock").cStr(), O_RDONLY | O_CLOEXEC));
    ASSERT_EQ(flock(lock, LOCK_EX), 0);
    EXPECT_EQ(freeNamelessLeases(list), 0);
  }
  EXPECT_TRUE(leased(ip));
  cni->del(attachment).wait(io.waitScope);
  EXPECT_FALSE(leased(ip));
  EXPECT_FALSE(leased("10.213.7.201"));
  EXPECT_TRUE(leased("10.213.7.200"));
}

TEST_F(CniSystem, AddThatFailsHalfWayIsUndoneByDel) {
  auto attachment = cni->prepare("pod-3", pod, netns).with([](auto changed) {
    auto list = std::string(kj::StringPtr(changed.getConflist()).cStr());
    // portmap refuses its configuration after bridge has attached the pod.
    auto end = list.rfind(']');
    list = list.substr(0, end) + R"(,{"type":"portmap","snat":"no"})" + list.substr(end);
    changed.setConflist(list.c_str());
  });
  expectFailure(snapshot::Code::INTERNAL, "CNI ADD by the plug-in portmap",
                [&] { cni->add(attachment).wait(io.waitScope); });
  EXPECT_TRUE(leased("10.213.7.2") || leased("10.213.7.3") || leased("10.213.7.4"));

  expectFailure(snapshot::Code::INTERNAL, "DEL by the plug-in portmap",
                [&] { cni->del(attachment).wait(io.waitScope); });
  for (auto ip : {"10.213.7.2", "10.213.7.3", "10.213.7.4"})
    EXPECT_FALSE(leased(ip)) << ip;
}

}  // namespace
}  // namespace belay::supervisor
