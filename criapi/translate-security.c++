// Security contexts of pods and containers: namespaces, users, capabilities, profiles.
#include "criapi/translate-security.h"

#include "criapi/text.h"

// The fields that SecurityProfile superseded are read on purpose: clients still send them.
#pragma clang diagnostic ignored "-Wdeprecated-declarations"

namespace belay::criapi {
namespace {

namespace v1 = runtime::v1;

// 2^32 - 1 means "no change" to the kernel's set*id calls.
constexpr int64_t MAX_ID = 0xfffffffe;

shim::NamespaceMode modeOf(v1::NamespaceMode mode, const Field& field) {
  switch (mode) {
    case v1::POD:
      return shim::NamespaceMode::POD;
    case v1::CONTAINER:
      return shim::NamespaceMode::CONTAINER;
    case v1::NODE:
      return shim::NamespaceMode::NODE;
    case v1::TARGET:
      return shim::NamespaceMode::TARGET;
    default:
      field.refuse("there is no namespace mode ", static_cast<int>(mode), " in the CRI");
  }
}

v1::NamespaceMode modeOf(shim::NamespaceMode mode) {
  switch (mode) {
    case shim::NamespaceMode::POD:
      return v1::POD;
    case shim::NamespaceMode::CONTAINER:
      return v1::CONTAINER;
    case shim::NamespaceMode::NODE:
      return v1::NODE;
    case shim::NamespaceMode::TARGET:
      return v1::TARGET;
  }
  return v1::POD;
}

// The mode of a namespace that is either the pod's or the host's.
shim::NamespaceMode podOrNode(v1::NamespaceMode mode, const Field& field) {
  if (mode != v1::POD && mode != v1::NODE) field.refuse("must be POD or NODE");
  return modeOf(mode, field);
}

void fillUserNamespace(supervisor::NamespaceOptions::Builder builder,
                       const v1::UserNamespace& options, const Field& field) {
  builder.setUsernsMode(podOrNode(options.mode(), field["mode"]));
  fillIdMappings(builder.initUidMappings(options.uids_size()), options.uids());
  fillIdMappings(builder.initGidMappings(options.gids_size()), options.gids());
}

void fillNamespaces(supervisor::NamespaceOptions::Builder builder,
                    const v1::NamespaceOption& options, const Field& field) {
  builder.setNetwork(podOrNode(options.network(), field["network"]));
  builder.setPid(modeOf(options.pid(), field["pid"]));
  builder.setIpc(podOrNode(options.ipc(), field["ipc"]));
  if (options.has_userns_options()) {
    fillUserNamespace(builder, options.userns_options(), field["userns_options"]);
  }
}

void fillSelinux(supervisor::SelinuxOptions::Builder builder, const v1::SELinuxOption& options,
                 const Field& field) {
  builder.setUser(requestText(options.user(), field["user"]));
  builder.setRole(requestText(options.role(), field["role"]));
  builder.setType(requestText(options.type(), field["type"]));
  builder.setLevel(requestText(options.level(), field["level"]));
}

void fillId(supervisor::OptionalId::Builder builder, const v1::Int64Value& id, const Field& field) {
  if (id.value() < 0 || id.value() > MAX_ID) {
    field.refuse(id.value(), " is not an id between 0 and ", MAX_ID);
  }
  builder.setValue(id.value());
}

void fillGroups(capnp::List<int64_t>::Builder list,
                const google::protobuf::RepeatedField<int64_t>& groups, const Field& field) {
  for (int i = 0; i < groups.size(); ++i) {
    if (groups[i] < 0 || groups[i] > MAX_ID) {
      field.at(i).refuse(groups[i], " is not an id between 0 and ", MAX_ID);
    }
    list.set(i, groups[i]);
  }
}

bool isStrict(v1::SupplementalGroupsPolicy policy, const Field& field) {
  if (!v1::SupplementalGroupsPolicy_IsValid(policy)) field.refuse("must be Merge or Strict");
  return policy == v1::Strict;
}

constexpr kj::StringPtr LOCALHOST = "localhost/"_kj;

bool beginsWithLocalhost(kj::StringPtr name) {
  return name.startsWith(LOCALHOST) && name.size() > LOCALHOST.size();
}

void fillProfile(supervisor::SecurityProfile::Builder builder, const v1::SecurityProfile& profile,
                 const Field& field) {
  using Kind = supervisor::SecurityProfile::Kind;
  switch (profile.profile_type()) {
    case v1::SecurityProfile::RuntimeDefault:
      builder.setKind(Kind::RUNTIME_DEFAULT);
      break;
    case v1::SecurityProfile::Unconfined:
      builder.setKind(Kind::UNCONFINED);
      break;
    case v1::SecurityProfile::Localhost: {
      auto name = requiredText(profile.localhost_ref(), field["localhost_ref"]);
      builder.setKind(Kind::LOCALHOST);
      // Some clients begin it like the text that this message superseded.
      builder.setLocalhostRef(name.slice(beginsWithLocalhost(name) ? LOCALHOST.size() : 0));
      break;
    }
    default:
      field["profile_type"].refuse("must be RuntimeDefault, Unconfined or Localhost");
  }
}

// The text form that the SecurityProfile message superseded: "" (no wish), "runtime/default",
// "unconfined", "localhost/NAME".
void fillDeprecatedProfile(supervisor::SecurityProfile::Builder builder, const std::string& profile,
                           const Field& field) {
  using Kind = supervisor::SecurityProfile::Kind;
  auto text = requestText(profile, field);
  if (text == "") return;
  if (text == "runtime/default" || text == "docker/default") {
    builder.setKind(Kind::RUNTIME_DEFAULT);
  } else if (text == "unconfined") {
    builder.setKind(Kind::UNCONFINED);
  } else if (beginsWithLocalhost(text)) {
    builder.setKind(Kind::LOCALHOST);
    builder.setLocalhostRef(text.slice(LOCALHOST.size()));
  } else {
    field.refuse("must be \"runtime/default\", \"unconfined\" or \"localhost/NAME\", not \"", text,
                 "\"");
  }
}

// seccomp and apparmor of either context, each before its deprecated form.
template <typename Context>
void fillProfiles(supervisor::SecurityContext::Builder builder, const Context& context,
                  const Field& field) {
  if (context.has_seccomp()) {
    fillProfile(builder.initSeccomp(), context.seccomp(), field["seccomp"]);
  } else {
    fillDeprecatedProfile(builder.initSeccomp(), context.seccomp_profile_path(),
                          field["seccomp_profile_path"]);
  }
  if (context.has_apparmor()) {
    fillProfile(builder.initApparmor(), context.apparmor(), field["apparmor"]);
  }
}

}  // namespace

void fillPodNamespaces(supervisor::NamespaceOptions::Builder builder,
                       const v1::NamespaceOption& options, const Field& field) {
  if (options.pid() == v1::TARGET) {
    field["pid"].refuse("TARGET is for containers: a pod has nobody to share with yet");
  }
  fillNamespaces(builder, options, field);
}

void fillContainerNamespaces(supervisor::NamespaceOptions::Builder builder,
                             const v1::NamespaceOption& options, const Field& field) {
  fillNamespaces(builder, options, field);
  if (options.pid() == v1::TARGET) {
    builder.setTargetId(requiredText(options.target_id(), field["target_id"]));
  }
}

void readNamespaces(supervisor::NamespaceOptions::Reader reader, v1::NamespaceOption& options) {
  options.set_network(modeOf(reader.getNetwork()));
  options.set_pid(modeOf(reader.getPid()));
  options.set_ipc(modeOf(reader.getIpc()));
  options.set_target_id(replyText(reader.getTargetId()));
  if (reader.getUsernsMode() != shim::NamespaceMode::NODE) {
    auto& userns = *options.mutable_userns_options();
    userns.set_mode(modeOf(reader.getUsernsMode()));
    readIdMappings(reader.getUidMappings(), *userns.mutable_uids());
    readIdMappings(reader.getGidMappings(), *userns.mutable_gids());
  }
}

void fillIdMappings(capnp::List<supervisor::IdMapping>::Builder list,
                    const google::protobuf::RepeatedPtrField<v1::IDMapping>& mappings) {
  for (int i = 0; i < mappings.size(); ++i) {
    list[i].setHostId(mappings[i].host_id());
    list[i].setContainerId(mappings[i].container_id());
    list[i].setLength(mappings[i].length());
  }
}

void readIdMappings(capnp::List<supervisor::IdMapping>::Reader list,
                    google::protobuf::RepeatedPtrField<v1::IDMapping>& mappings) {
  for (auto mapping : list) {
    auto& item = *mappings.Add();
    item.set_host_id(mapping.getHostId());
    item.set_container_id(mapping.getContainerId());
    item.set_length(mapping.getLength());
  }
}

void fillPodSecurity(supervisor::SecurityContext::Builder builder,
                     const v1::LinuxSandboxSecurityContext& context, const Field& field) {
  fillPodNamespaces(builder.initNamespaces(), context.namespace_options(),
                    field["namespace_options"]);
  fillSelinux(builder.initSelinux(), context.selinux_options(), field["selinux_options"]);
  if (context.has_run_as_user()) {
    fillId(builder.initRunAsUser(), context.run_as_user(), field["run_as_user"]);
  }
  if (context.has_run_as_group()) {
    if (!context.has_run_as_user()) {
      field["run_as_group"].refuse("needs run_as_user, which is not set");
    }
    fillId(builder.initRunAsGroup(), context.run_as_group(), field["run_as_group"]);
  }
  builder.setReadonlyRootfs(context.readonly_rootfs());
  fillGroups(builder.initSupplementalGroups(context.supplemental_groups_size()),
             context.supplemental_groups(), field["supplemental_groups"]);
  builder.setStrictGroups(
      isStrict(context.supplemental_groups_policy(), field["supplemental_groups_policy"]));
  builder.setPrivileged(context.privileged());
  fillProfiles(builder, context, field);
}

void fillContainerSecurity(supervisor::SecurityContext::Builder builder,
                           const v1::LinuxContainerSecurityContext& context, const Field& field) {
  fillContainerNamespaces(builder.initNamespaces(), context.namespace_options(),
                          field["namespace_options"]);
  fillSelinux(builder.initSelinux(), context.selinux_options(), field["selinux_options"]);
  if (context.has_run_as_user()) {
    if (!context.run_as_username().empty()) {
      field["run_as_username"].refuse("is set together with run_as_user: only one may be");
    }
    fillId(builder.initRunAsUser(), context.run_as_user(), field["run_as_user"]);
  }
  builder.setRunAsUsername(requestText(context.run_as_username(), field["run_as_username"]));
  if (context.has_run_as_group()) {
    if (!context.has_run_as_user() && context.run_as_username().empty()) {
      field["run_as_group"].refuse("needs run_as_user or run_as_username, and neither is set");
    }
    fillId(builder.initRunAsGroup(), context.run_as_group(), field["run_as_group"]);
  }
  builder.setReadonlyRootfs(context.readonly_rootfs());
  fillGroups(builder.initSupplementalGroups(context.supplemental_groups_size()),
             context.supplemental_groups(), field["supplemental_groups"]);
  builder.setStrictGroups(
      isStrict(context.supplemental_groups_policy(), field["supplemental_groups_policy"]));
  builder.setPrivileged(context.privileged());
  builder.setNoNewPrivileges(context.no_new_privs());

  auto& capabilities = context.capabilities();
  const Field capabilitiesField = field["capabilities"];
  fillTexts(builder.initAddCapabilities(capabilities.add_capabilities_size()),
            capabilities.add_capabilities(), capabilitiesField["add_capabilities"]);
  fillTexts(builder.initDropCapabilities(capabilities.drop_capabilities_size()),
            capabilities.drop_capabilities(), capabilitiesField["drop_capabilities"]);
  fillTexts(builder.initAddAmbientCapabilities(capabilities.add_ambient_capabilities_size()),
            capabilities.add_ambient_capabilities(), capabilitiesField["add_ambient_capabilities"]);

  fillTexts(builder.initMaskedPaths(context.masked_paths_size()), context.masked_paths(),
            field["masked_paths"]);
  fillTexts(builder.initReadonlyPaths(context.readonly_paths_size()), context.readonly_paths(),
            field["readonly_paths"]);
  fillProfiles(builder, context, field);
  if (!context.has_apparmor()) {
    fillDeprecatedProfile(builder.initApparmor(), context.apparmor_profile(),
                          field["apparmor_profile"]);
  }
}

}  // namespace belay::criapi
