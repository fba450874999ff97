// Tests for security contexts.
#include "criapi/translate-security.h"

#include <gtest/gtest.h>

#include <functional>

#include "criapi/testing.h"
#include "criapi/text.h"

#pragma clang diagnostic ignored "-Wdeprecated-declarations"

namespace belay::criapi {
namespace {

namespace v1 = runtime::v1;
using Security = supervisor::Owned<supervisor::SecurityContext>;
using Kind = supervisor::SecurityProfile::Kind;

const Field FIELD("sc");

Security podSecurity(const v1::LinuxSandboxSecurityContext& context) {
  return Security::make([&](auto builder) { fillPodSecurity(builder, context, FIELD); });
}

Security containerSecurity(const v1::LinuxContainerSecurityContext& context) {
  return Security::make([&](auto builder) { fillContainerSecurity(builder, context, FIELD); });
}

std::string podRefusal(std::function<void(v1::LinuxSandboxSecurityContext&)> change) {
  v1::LinuxSandboxSecurityContext context;
  change(context);
  return refusal([&]() { podSecurity(context); });
}

std::string containerRefusal(std::function<void(v1::LinuxContainerSecurityContext&)> change) {
  v1::LinuxContainerSecurityContext context;
  change(context);
  return refusal([&]() { containerSecurity(context); });
}

TEST(Security, NothingGivenMeansNothingWished) {
  auto security = containerSecurity({});
  EXPECT_EQ(security.get().getSeccomp().getKind(), Kind::UNSET);
  EXPECT_EQ(security.get().getApparmor().getKind(), Kind::UNSET);
  EXPECT_TRUE(security.get().getRunAsUser().isUnset());
  EXPECT_EQ(security.get().getNamespaces().getPid(), shim::NamespaceMode::POD);
  EXPECT_EQ(security.get().getNamespaces().getUsernsMode(), shim::NamespaceMode::NODE);
}

TEST(Security, ContainerContextIsTakenOver) {
  v1::LinuxContainerSecurityContext context;
  context.mutable_run_as_user()->set_value(1000);
  context.mutable_run_as_group()->set_value(0);
  context.add_supplemental_groups(4);
  context.set_supplemental_groups_policy(v1::Strict);
  context.set_no_new_privs(true);
  context.set_readonly_rootfs(true);
  context.mutable_capabilities()->add_add_capabilities("NET_ADMIN");
  context.mutable_capabilities()->add_drop_capabilities("ALL");
  context.mutable_capabilities()->add_add_ambient_capabilities("NET_BIND_SERVICE");
  context.add_masked_paths("/proc/kcore");
  context.add_readonly_paths("/proc/sys");
  context.mutable_seccomp()->set_profile_type(v1::SecurityProfile::Localhost);
  context.mutable_seccomp()->set_localhost_ref("/profiles/a.json");
  context.mutable_apparmor()->set_profile_type(v1::SecurityProfile::Unconfined);
  context.mutable_namespace_options()->set_pid(v1::TARGET);
  context.mutable_namespace_options()->set_target_id("other");
  context.mutable_selinux_options()->set_level("s0:c1,c2");

  auto owned = containerSecurity(context);
  auto security = owned.get();
  EXPECT_EQ(security.getRunAsUser().getValue(), 1000);
  EXPECT_EQ(security.getRunAsGroup().getValue(), 0);
  EXPECT_EQ(security.getSupplementalGroups()[0], 4);
  EXPECT_TRUE(security.getStrictGroups());
  EXPECT_TRUE(security.getNoNewPrivileges());
  EXPECT_TRUE(security.getReadonlyRootfs());
  EXPECT_FALSE(security.getPrivileged());
  EXPECT_EQ(security.getAddCapabilities()[0], "NET_ADMIN"_kj);
  EXPECT_EQ(security.getDropCapabilities()[0], "ALL"_kj);
  EXPECT_EQ(security.getAddAmbientCapabilities()[0], "NET_BIND_SERVICE"_kj);
  EXPECT_EQ(security.getMaskedPaths()[0], "/proc/kcore"_kj);
  EXPECT_EQ(security.getReadonlyPaths()[0], "/proc/sys"_kj);
  EXPECT_EQ(security.getSeccomp().getKind(), Kind::LOCALHOST);
  EXPECT_EQ(security.getSeccomp().getLocalhostRef(), "/profiles/a.json"_kj);
  EXPECT_EQ(security.getApparmor().getKind(), Kind::UNCONFINED);
  EXPECT_EQ(security.getNamespaces().getPid(), shim::NamespaceMode::TARGET);
  EXPECT_EQ(security.getNamespaces().getTargetId(), "other"_kj);
  EXPECT_EQ(security.getSelinux().getLevel(), "s0:c1,c2"_kj);
}

TEST(Security, DeprecatedProfileTextsStillCount) {
  v1::LinuxContainerSecurityContext context;
  context.set_seccomp_profile_path("runtime/default");
  context.set_apparmor_profile("localhost/k8s-nginx");
  auto security = containerSecurity(context);
  EXPECT_EQ(security.get().getSeccomp().getKind(), Kind::RUNTIME_DEFAULT);
  EXPECT_EQ(security.get().getApparmor().getKind(), Kind::LOCALHOST);
  EXPECT_EQ(security.get().getApparmor().getLocalhostRef(), "k8s-nginx"_kj);

  context.mutable_apparmor()->set_profile_type(v1::SecurityProfile::Localhost);
  for (auto name : {"k8s-nginx", "localhost/k8s-nginx"}) {
    context.mutable_apparmor()->set_localhost_ref(name);
    EXPECT_EQ(containerSecurity(context).get().getApparmor().getLocalhostRef(), "k8s-nginx"_kj);
  }
  // No profile can have that name: it must not become "no profile".
  context.mutable_apparmor()->set_localhost_ref("localhost/");
  EXPECT_EQ(containerSecurity(context).get().getApparmor().getLocalhostRef(), "localhost/"_kj);

  // The message goes before the text.
  context.mutable_seccomp()->set_profile_type(v1::SecurityProfile::Unconfined);
  EXPECT_EQ(containerSecurity(context).get().getSeccomp().getKind(), Kind::UNCONFINED);

  v1::LinuxSandboxSecurityContext pod;
  pod.set_seccomp_profile_path("unconfined");
  EXPECT_EQ(podSecurity(pod).get().getSeccomp().getKind(), Kind::UNCONFINED);
}

TEST(Security, ContradictionsAreRefused) {
  EXPECT_EQ(podRefusal([](auto& c) { c.mutable_run_as_group()->set_value(5); }),
            "sc.run_as_group: needs run_as_user, which is not set");
  EXPECT_EQ(containerRefusal([](auto& c) { c.mutable_run_as_group()->set_value(5); }),
            "sc.run_as_group: needs run_as_user or run_as_username, and neither is set");
  EXPECT_EQ(containerRefusal([](auto& c) {
              c.mutable_run_as_user()->set_value(5);
              c.set_run_as_username("www");
            }),
            "sc.run_as_username: is set together with run_as_user: only one may be");
  EXPECT_EQ(containerRefusal([](auto& c) {
              c.mutable_seccomp()->set_profile_type(v1::SecurityProfile::Localhost);
            }),
            "sc.seccomp.localhost_ref: must not be empty");
  EXPECT_EQ(containerRefusal([](auto& c) { c.set_apparmor_profile("nginx"); }),
            "sc.apparmor_profile: must be \"runtime/default\", \"unconfined\" or "
            "\"localhost/NAME\", not \"nginx\"");
  EXPECT_EQ(containerRefusal([](auto& c) { c.mutable_run_as_user()->set_value(-1); }),
            "sc.run_as_user: -1 is not an id between 0 and 4294967294");
  EXPECT_EQ(podRefusal([](auto& c) { c.add_supplemental_groups(int64_t{1} << 32); }),
            "sc.supplemental_groups[0]: 4294967296 is not an id between 0 and 4294967294");
}

TEST(Security, NamespacesHaveOnlyTheModesThatMakeSense) {
  EXPECT_EQ(podRefusal([](auto& c) { c.mutable_namespace_options()->set_network(v1::CONTAINER); }),
            "sc.namespace_options.network: must be POD or NODE");
  EXPECT_EQ(podRefusal([](auto& c) {
              c.mutable_namespace_options()->mutable_userns_options()->set_mode(v1::TARGET);
            }),
            "sc.namespace_options.userns_options.mode: must be POD or NODE");
  EXPECT_EQ(podRefusal([](auto& c) { c.mutable_namespace_options()->set_pid(v1::TARGET); }),
            "sc.namespace_options.pid: TARGET is for containers: a pod has nobody to share with "
            "yet");
  EXPECT_EQ(containerRefusal([](auto& c) { c.mutable_namespace_options()->set_pid(v1::TARGET); }),
            "sc.namespace_options.target_id: must not be empty");
  EXPECT_EQ(containerRefusal([](auto& c) {
              c.mutable_namespace_options()->set_pid(static_cast<v1::NamespaceMode>(9));
            }),
            "sc.namespace_options.pid: there is no namespace mode 9 in the CRI");
}

TEST(Security, NamespacesComeBackAsTheyWereAsked) {
  v1::NamespaceOption options;
  options.set_network(v1::NODE);
  options.set_pid(v1::CONTAINER);
  options.mutable_userns_options()->set_mode(v1::POD);
  for (auto* mapping : {options.mutable_userns_options()->add_uids(),
                        options.mutable_userns_options()->add_gids()}) {
    mapping->set_host_id(100000);
    mapping->set_length(65536);
  }
  auto kept = supervisor::Owned<supervisor::NamespaceOptions>::make(
      [&](auto builder) { fillPodNamespaces(builder, options, FIELD); });
  v1::NamespaceOption back;
  readNamespaces(kept.get(), back);
  EXPECT_EQ(back.SerializeAsString(), options.SerializeAsString());
}

}  // namespace
}  // namespace belay::criapi
