// /etc/hosts, /etc/hostname and /etc/resolv.conf of a pod.
#include "supervisor/spec/pod-files.h"

#include <capnp/message.h>
#include <fcntl.h>
#include <kj/io.h>
#include <sys/stat.h>
#include <unistd.h>

#include "supervisor/spec/expect-failure.h"

namespace belay::supervisor {
namespace {

using snapshot::Code;

class PodFilesTest : public ::testing::Test {
 protected:
  ~PodFilesTest() noexcept override = default;

  capnp::MallocMessageBuilder message;
  PodConfig::Builder pod = message.initRoot<PodConfig>();
  PodFiles host{kj::str("host's hosts"), kj::str("host's name"), kj::str("nameserver 9.9.9.9\n")};
  kj::Array<const kj::StringPtr> ips = kj::arr<const kj::StringPtr>("10.1.0.5", "fd00::5");

  PodFiles render() { return renderPodFiles(pod, "web-0", ips, host); }
};

TEST_F(PodFilesTest, HostsNamesThePodByEachAddress) {
  std::string hosts = render().hosts.cStr();
  EXPECT_THAT(hosts, ::testing::HasSubstr("127.0.0.1\tlocalhost\n"));
  EXPECT_THAT(hosts, ::testing::HasSubstr("\n10.1.0.5\tweb-0\nfd00::5\tweb-0\n"));
  EXPECT_EQ(render().hostname, "web-0\n");
}

TEST_F(PodFilesTest, DnsSettingsBecomeResolvConf) {
  pod.setHasDns(true);
  pod.initDnsServers(2).set(0, "10.0.0.10");
  pod.getDnsServers().set(1, "10.0.0.11");
  pod.initDnsSearches(2).set(0, "a.local");
  pod.getDnsSearches().set(1, "b.local");
  pod.initDnsOptions(1).set(0, "ndots:5");
  EXPECT_EQ(
      render().resolvConf,
      "nameserver 10.0.0.10\nnameserver 10.0.0.11\nsearch a.local b.local\noptions ndots:5\n");
}

TEST_F(PodFilesTest, WithoutDnsSettingsItIsTheHosts) {
  EXPECT_EQ(render().resolvConf, "nameserver 9.9.9.9\n");
}

TEST_F(PodFilesTest, HostNetworkSeesTheHostsFiles) {
  pod.initSecurity().initNamespaces().setNetwork(shim::NamespaceMode::NODE);
  EXPECT_EQ(render().hosts, "host's hosts");
  EXPECT_EQ(render().hostname, "host's name");
}

TEST_F(PodFilesTest, LinesCannotBeSmuggledIn) {
  pod.setHasDns(true);
  pod.initDnsServers(1).set(0, "10.0.0.10\nnameserver 6.6.6.6");
  expectFailure(Code::INVALID_ARGUMENT, "dns_config.servers", [&] { render(); });
  pod.initDnsServers(0);
  pod.initDnsSearches(1).set(0, "a b");
  expectFailure(Code::INVALID_ARGUMENT, "dns_config.searches", [&] { render(); });
  pod.initDnsSearches(0);
  expectFailure(Code::INVALID_ARGUMENT, "hostname",
                [&] { renderPodFiles(pod, "a\nb", ips, host); });
}

TEST_F(PodFilesTest, WritingReplacesContentInPlace) {
  auto folder = kj::str(::testing::TempDir(), "/pod-files");
  mkdir(folder.cStr(), 0700);
  kj::AutoCloseFd fd(open(folder.cStr(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  ASSERT_GE(fd.get(), 0);
  writePodFiles(fd, host, geteuid());
  struct stat before, after;
  ASSERT_EQ(fstatat(fd, "hosts", &before, 0), 0);
  writePodFiles(fd, render(), geteuid());
  ASSERT_EQ(fstatat(fd, "hosts", &after, 0), 0);
  EXPECT_EQ(before.st_ino, after.st_ino) << "a container that has it bound would not see it";
  EXPECT_EQ(after.st_mode & 0777, 0644u);
  EXPECT_EQ(after.st_size, render().hosts.size());
}

}  // namespace
}  // namespace belay::supervisor
