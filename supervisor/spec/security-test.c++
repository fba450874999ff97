// Namespaces and security settings that are refused, and paths that are hidden.
#include "supervisor/spec/security.h"

#include <capnp/message.h>
#include <sys/stat.h>

#include <fstream>

#include "supervisor/spec/expect-failure.h"

namespace belay::supervisor {
namespace {

using shim::NamespaceMode;
using snapshot::Code;

class SecurityTest : public ::testing::Test {
 protected:
  ~SecurityTest() noexcept override = default;

  capnp::MallocMessageBuilder podMessage, containerMessage;
  PodConfig::Builder pod = podMessage.initRoot<PodConfig>();
  ContainerConfig::Builder container = containerMessage.initRoot<ContainerConfig>();
  SecurityContext::Builder podSecurity = pod.initSecurity();
  SecurityContext::Builder security = container.initSecurity();

  void checkPod() { checkPodSecurity(pod, {nullptr, false}); }
  void check(MandatoryAccessControl host = {nullptr, false}) {
    checkContainerSecurity(container, pod, host);
  }
};

TEST_F(SecurityTest, AnEmptyRequestIsFine) {
  checkPod();
  check();
}

TEST_F(SecurityTest, PrivilegedContainersNeedAPrivilegedPod) {
  security.setPrivileged(true);
  expectFailure(Code::INVALID_ARGUMENT, "linux.security_context.privileged", [&] { check(); });
  podSecurity.setPrivileged(true);
  check();
}

TEST_F(SecurityTest, NamespaceModesThatMakeNoSenseAreRefused) {
  auto namespaces = podSecurity.initNamespaces();
  namespaces.setNetwork(NamespaceMode::CONTAINER);
  expectFailure(Code::INVALID_ARGUMENT, "namespace_options.network: must be POD or NODE",
                [&] { checkPod(); });
  namespaces.setNetwork(NamespaceMode::POD);
  namespaces.setIpc(NamespaceMode::TARGET);
  expectFailure(Code::INVALID_ARGUMENT, "namespace_options.ipc", [&] { checkPod(); });
  namespaces.setIpc(NamespaceMode::POD);
  namespaces.setPid(NamespaceMode::TARGET);
  expectFailure(Code::INVALID_ARGUMENT, "namespace_options.pid", [&] { checkPod(); });
}

TEST_F(SecurityTest, PidTargetNeedsAnId) {
  auto namespaces = security.initNamespaces();
  namespaces.setPid(NamespaceMode::TARGET);
  expectFailure(Code::INVALID_ARGUMENT, "namespace_options.target_id", [&] { check(); });
  namespaces.setTargetId("abc");
  check();
}

TEST_F(SecurityTest, ContainersHaveTheirPodsUserNamespace) {
  auto ask = [](NamespaceOptions::Builder namespaces, uint32_t hostId) {
    namespaces.setUsernsMode(NamespaceMode::POD);
    for (auto mappings : {namespaces.initUidMappings(1), namespaces.initGidMappings(1)}) {
      mappings[0].setHostId(hostId);
      mappings[0].setLength(65536);
    }
  };
  ask(podSecurity.initNamespaces(), 65536);
  checkPod();
  expectFailure(Code::INVALID_ARGUMENT, "userns_options: must be the same", [&] { check(); });
  ask(security.initNamespaces(), 131072);
  expectFailure(Code::INVALID_ARGUMENT, "userns_options: must be the same", [&] { check(); });
  ask(security.getNamespaces(), 65536);
  check();
  podSecurity.initNamespaces();
  expectFailure(Code::INVALID_ARGUMENT, "userns_options: must be the same", [&] { check(); });
}

TEST_F(SecurityTest, SelinuxLabelsAreNeverPassedOver) {
  security.initSelinux();
  check();
  security.getSelinux().setType("container_t");
  expectFailure(Code::FAILED_PRECONDITION, "selinux_options: the label cannot be applied",
                [&] { check(); });
  expectFailure(Code::UNIMPLEMENTED, "selinux_options", [&] { check({nullptr, true}); });
  podSecurity.setPrivileged(true);
  security.setPrivileged(true);
  check();
}

TEST_F(SecurityTest, WithoutAppArmorOnlyAProfileOfOnesOwnIsRefused) {
  auto profile = security.initApparmor();
  profile.setKind(SecurityProfile::Kind::LOCALHOST);
  expectFailure(Code::INVALID_ARGUMENT, "without a localhost_ref", [&] { check(); });
  profile.setLocalhostRef("mine");
  expectFailure(Code::FAILED_PRECONDITION, "the kernel has no AppArmor", [&] { check(); });
  profile.setKind(SecurityProfile::Kind::RUNTIME_DEFAULT);
  check();
  EXPECT_EQ(apparmorProfile(security, nullptr), "");
}

// A kernel with AppArmor, as far as its files tell.
class AppArmorTest : public SecurityTest {
 protected:
  ~AppArmorTest() noexcept override = default;

  kj::String folder = kj::str(::testing::TempDir(), "apparmorfs");
  AppArmor apparmor{folder};

  void hasProfiles(kj::StringPtr list) {
    mkdir(folder.cStr(), 0700);
    std::ofstream(kj::str(folder, "/profiles").cStr()) << list.cStr();
  }
};

TEST_F(AppArmorTest, ProfilesMustBeLoaded) {
  hasProfiles("mine (enforce)\nother one (complain)\n");
  auto profile = security.initApparmor();
  profile.setKind(SecurityProfile::Kind::LOCALHOST);
  auto refused = [&](kj::StringPtr name, Code code, const char* sentence) {
    profile.setLocalhostRef(name);
    expectFailure(code, sentence, [&] { check({&apparmor, false}); });
  };
  refused("min", Code::FAILED_PRECONDITION, "the profile \"min\" is not loaded");
  refused("other", Code::FAILED_PRECONDITION, "not loaded");
  refused("enforce", Code::FAILED_PRECONDITION, "not loaded");
  refused("mine (enforce)\nother one", Code::INVALID_ARGUMENT, "line break");
  for (auto name : {"mine"_kj, "other one"_kj}) {
    profile.setLocalhostRef(name);
    check({&apparmor, false});
    EXPECT_EQ(apparmorProfile(security, &apparmor), name);
  }
}

TEST_F(AppArmorTest, TheDefaultIsWhatEverybodyGetsWhoDoesNotChoose) {
  hasProfiles("belay-default (enforce)\n");
  check({&apparmor, false});
  EXPECT_EQ(apparmorProfile(security, &apparmor), "belay-default");
  security.initApparmor().setKind(SecurityProfile::Kind::RUNTIME_DEFAULT);
  check({&apparmor, false});
  EXPECT_EQ(apparmorProfile(security, &apparmor), "belay-default");
  security.getApparmor().setKind(SecurityProfile::Kind::UNCONFINED);
  EXPECT_EQ(apparmorProfile(security, &apparmor), "");
  security.getApparmor().setKind(SecurityProfile::Kind::RUNTIME_DEFAULT);
  security.setPrivileged(true);
  EXPECT_EQ(apparmorProfile(security, &apparmor), "");
}

TEST_F(AppArmorTest, AWishForADefaultThatIsNotThereIsRefused) {
  hasProfiles("other (enforce)\n");
  check({&apparmor, false});
  EXPECT_EQ(apparmorProfile(security, &apparmor), "");
  security.initApparmor().setKind(SecurityProfile::Kind::RUNTIME_DEFAULT);
  expectFailure(Code::FAILED_PRECONDITION, "belay-default is not loaded",
                [&] { check({&apparmor, false}); });
}

TEST_F(SecurityTest, CdiDevicesAreNamedAsNotBuilt) {
  container.initCdiDevices(1).set(0, "vendor.com/gpu=0");
  expectFailure(Code::UNIMPLEMENTED, "CDI_devices", [&] { check(); });
}

TEST_F(SecurityTest, ProtectedPathsAreBelaysUnlessTheClientSays) {
  auto paths = protectedPaths(security);
  EXPECT_GT(paths.masked.size(), 8u);
  EXPECT_EQ(paths.readonly.size(), 5u);

  security.initMaskedPaths(1).set(0, "/proc/kcore/");
  paths = protectedPaths(security);
  ASSERT_EQ(paths.masked.size(), 1u);
  EXPECT_EQ(paths.masked[0], "/proc/kcore");
  EXPECT_EQ(paths.readonly.size(), 0u);

  security.initReadonlyPaths(1).set(0, "proc/sys");
  expectFailure(Code::INVALID_ARGUMENT, "readonly_paths", [&] { protectedPaths(security); });
  security.setPrivileged(true);
  EXPECT_EQ(protectedPaths(security).masked.size(), 0u);
}

TEST_F(SecurityTest, NoListsInAUserNamespaceMeanUnmasked) {
  security.initNamespaces().setUsernsMode(NamespaceMode::POD);
  EXPECT_EQ(protectedPaths(security).masked.size(), 0u);
  EXPECT_EQ(protectedPaths(security).readonly.size(), 0u);
  security.initMaskedPaths(1).set(0, "/proc/kcore");
  EXPECT_EQ(protectedPaths(security).masked.size(), 1u);
}

}  // namespace
}  // namespace belay::supervisor
