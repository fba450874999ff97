// Whole specs: what a plain container, an exec, and pods of each kind become.
#include "supervisor/spec/spec.h"

#include <capnp/message.h>
#include <signal.h>

#include "supervisor/spec/capabilities.h"
#include "supervisor/spec/expect-failure.h"

namespace belay::supervisor {
namespace {

using snapshot::Code;

class SpecTest : public ::testing::Test {
 protected:
  ~SpecTest() noexcept override = default;

  SpecTest() {
    options.cgroupRoot = kj::str("belay");
    options.hostname = kj::str("node-1");
    options.capabilities = (1ull << 41) - 1;
    pod.setName("web");
    pod.setHostname("web-0");
    pod.setLogDirectory("/var/log/pods/web");
    config.setName("main");
    config.initCommand(1).set(0, "/bin/true");
    config.setLogPath("main/0.log");
    rootfs.initLower(1).set(0, "/layers/a");
    rootfs.setUpper("/snapshots/c/fs");
  }

  SpecOptions options;
  SeccompFilters seccomp{nullptr};
  capnp::MallocMessageBuilder podMessage, configMessage, imageMessage, rootfsMessage;
  PodConfig::Builder pod = podMessage.initRoot<PodConfig>();
  ContainerConfig::Builder config = configMessage.initRoot<ContainerConfig>();
  snapshot::Image::Builder image = imageMessage.initRoot<snapshot::Image>();
  shim::Rootfs::Builder rootfs = rootfsMessage.initRoot<shim::Rootfs>();

  Owned<shim::PodSpec> buildPod() { return buildPodSpec(options, "POD", pod, "/run/netns/cni-1"); }

  Owned<shim::ContainerSpec> build() {
    auto podSpec = buildPod();
    auto devices = planDevices(config);
    return buildContainerSpec(
        options, seccomp,
        {"CTR", config, pod, podSpec.get(), image, rootfs, "/run/belay/pods/POD", "", devices});
  }

  bool hasEnv(shim::ProcessSpec::Reader process, kj::StringPtr line) {
    for (auto entry : process.getEnv()) {
      if (entry == line.asBytes()) return true;
    }
    return false;
  }
};

TEST_F(SpecTest, PlainPodHasItsOwnNamespacesAndCgroup) {
  auto spec = buildPod();
  EXPECT_EQ(spec.get().getHostname(), "web-0");
  EXPECT_EQ(spec.get().getNetnsPath(), "/run/netns/cni-1");
  EXPECT_EQ(spec.get().getCgroupPath(), "/belay/pods/POD");
  EXPECT_EQ(spec.get().getNetwork(), shim::NamespaceMode::POD);
  EXPECT_EQ(spec.get().getShmBytes(), 64u << 20);
  EXPECT_EQ(spec.get().getSysctls().size(), 2u);
}

TEST_F(SpecTest, HostNetworkPodHasNeitherNetnsNorHostname) {
  pod.initSecurity().initNamespaces().setNetwork(shim::NamespaceMode::NODE);
  auto spec = buildPod();
  EXPECT_EQ(spec.get().getHostname(), "");
  EXPECT_EQ(spec.get().getNetnsPath(), "");
  EXPECT_EQ(spec.get().getSysctls().size(), 0u);
  EXPECT_TRUE(hasEnv(build().get().getProcess(), "HOSTNAME=node-1"));
}

TEST_F(SpecTest, BadPodsAreRefusedWithTheirField) {
  pod.setHostname(std::string(65, 'a').c_str());
  expectFailure(Code::INVALID_ARGUMENT, "hostname: longer than 64 bytes", [&] { buildPod(); });
  pod.setHostname("web-0");
  pod.setLogDirectory("logs");
  expectFailure(Code::INVALID_ARGUMENT, "log_directory", [&] { buildPod(); });
}

TEST_F(SpecTest, PlainContainerIsComplete) {
  auto spec = build();
  auto reader = spec.get();
  auto process = reader.getProcess();
  EXPECT_EQ(reader.getId(), "CTR");
  EXPECT_EQ(reader.getCgroupPath(), "/belay/pods/POD/CTR");
  EXPECT_EQ(reader.getLogPath(), "/var/log/pods/web/main/0.log");
  EXPECT_EQ(reader.getStopSignal(), SIGTERM);
  EXPECT_EQ(reader.getRootfs().getUpper(), "/snapshots/c/fs");
  EXPECT_EQ(reader.getDevices().size(), 6u);
  EXPECT_FALSE(reader.getAllDevices());
  EXPECT_EQ(process.getCwd(), "/");
  EXPECT_TRUE(process.getSetOomScoreAdj());
  EXPECT_EQ(process.getCapabilities().getBounding(), defaultCapabilities());
  EXPECT_TRUE(hasEnv(process, "HOSTNAME=web-0"));
  EXPECT_EQ(process.getSeccompFilter().size(), 0u) << "the CRI: no profile is unconfined";
}

TEST_F(SpecTest, OperatorMayFilterThoseWhoAskForNoProfile) {
  options.seccompByDefault = true;
  EXPECT_GT(build().get().getProcess().getSeccompFilter().size(), 0u);
  config.initSecurity().initSeccomp().setKind(SecurityProfile::Kind::UNCONFINED);
  EXPECT_EQ(build().get().getProcess().getSeccompFilter().size(), 0u);
}

TEST_F(SpecTest, PrivilegedLiftsEveryProtection) {
  pod.initSecurity().setPrivileged(true);
  auto security = config.initSecurity();
  security.setPrivileged(true);
  security.initSeccomp().setKind(SecurityProfile::Kind::RUNTIME_DEFAULT);
  auto spec = build();
  EXPECT_TRUE(spec.get().getAllDevices());
  EXPECT_TRUE(spec.get().getPrivileged());
  EXPECT_EQ(spec.get().getMaskedPaths().size(), 0u);
  EXPECT_EQ(spec.get().getProcess().getSeccompFilter().size(), 0u);
  EXPECT_EQ(spec.get().getProcess().getCapabilities().getBounding(), options.capabilities);
}

TEST_F(SpecTest, ReadonlyRootfsIsToldToTheShim) {
  config.initSecurity().setReadonlyRootfs(true);
  EXPECT_TRUE(build().get().getRootfs().getReadonly());
}

TEST_F(SpecTest, LogPathStaysBelowThePods) {
  config.setLogPath("../../etc/passwd");
  expectFailure(Code::INVALID_ARGUMENT, "log_path", [&] { build(); });
  config.setLogPath("main.log");
  pod.setLogDirectory("");
  EXPECT_EQ(build().get().getLogPath(), "");
}

TEST_F(SpecTest, ExecIsTheContainersProcessWithOtherArguments) {
  config.initSecurity().initRunAsUser().setValue(1000);
  auto container = build();
  auto command = kj::arr(kj::str("sh"), kj::str("-c"), kj::str("id"));
  auto process = buildExecProcess(container.get(), command, true);
  EXPECT_EQ(process.get().getArgs().size(), 3u);
  EXPECT_EQ(process.get().getArgs()[2], "id"_kj.asBytes());
  EXPECT_EQ(process.get().getUser().getUid(), 1000u);
  EXPECT_TRUE(process.get().getTerminal());
  EXPECT_TRUE(hasEnv(process.get(), "TERM=xterm"));
  EXPECT_TRUE(hasEnv(process.get(), "HOSTNAME=web-0"));
  expectFailure(Code::INVALID_ARGUMENT, "cmd: no command specified",
                [&] { buildExecProcess(container.get(), nullptr, false); });
}

TEST_F(SpecTest, OptionsOfThisHostCanBeRead) {
  Config configuration = defaultConfig("/usr/bin");
  configuration.restrictOomScoreAdj = true;
  auto own = specOptions(configuration);
  EXPECT_EQ(own.cgroupRoot, "belay");
  EXPECT_GT(own.hostname.size(), 0u);
  EXPECT_TRUE(own.oomScoreAdjFloor != nullptr);
}

}  // namespace
}  // namespace belay::supervisor
