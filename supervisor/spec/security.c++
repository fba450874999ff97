// Namespaces and security settings: what is taken, what is refused.
#include "supervisor/spec/security.h"

#include "supervisor/spec/check.h"
#include "supervisor/spec/user-namespace.h"

namespace belay::supervisor {

namespace {

using shim::NamespaceMode;

constexpr kj::StringPtr MASKED[] = {
    "/proc/acpi"_kj,
    "/proc/asound"_kj,
    "/proc/interrupts"_kj,
    "/proc/kcore"_kj,
    "/proc/keys"_kj,
    "/proc/latency_stats"_kj,
    "/proc/sched_debug"_kj,
    "/proc/scsi"_kj,
    "/proc/timer_list"_kj,
    "/proc/timer_stats"_kj,
    "/sys/devices/virtual/powercap"_kj,
    "/sys/firmware"_kj,
};

constexpr kj::StringPtr READ_ONLY[] = {
    "/proc/bus"_kj, "/proc/fs"_kj, "/proc/irq"_kj, "/proc/sys"_kj, "/proc/sysrq-trigger"_kj,
};

kj::String fieldOf(kj::StringPtr name) {
  return kj::str("linux.security_context.", name);
}

void checkNamespaces(NamespaceOptions::Reader options) {
  auto check = [](kj::StringPtr name, NamespaceMode mode) {
    if (mode != NamespaceMode::POD && mode != NamespaceMode::NODE) {
      refuse(fieldOf(kj::str("namespace_options.", name)), "must be POD or NODE");
    }
  };
  check("network", options.getNetwork());
  check("ipc", options.getIpc());
  checkUserNamespace(options);
}

void checkSelinux(SelinuxOptions::Reader options, bool enforced) {
  bool asked = options.getUser().size() > 0 || options.getRole().size() > 0 ||
               options.getType().size() > 0 || options.getLevel().size() > 0;
  if (!asked) return;
  auto field = fieldOf("selinux_options");
  if (enforced) notApplied(field, "SELinux labels are not built yet");
  snapshot::fail(snapshot::Code::FAILED_PRECONDITION, field,
                 ": the label cannot be applied, for the kernel has no SELinux");
}

void checkOwnProfile(kj::StringPtr field, kj::StringPtr name, AppArmor* apparmor) {
  using snapshot::Code;
  if (name.size() == 0) refuse(field, "Localhost without a localhost_ref");
  requireNoNul(field, name);
  if (name.findFirst('\n') != nullptr) refuse(field, "the profile's name has a line break in it");
  if (apparmor == nullptr) {
    snapshot::fail(Code::FAILED_PRECONDITION, field, ": the profile \"", name,
                   "\" cannot be applied, for the kernel has no AppArmor");
  }
  if (!apparmor->isLoaded(name)) {
    snapshot::fail(Code::FAILED_PRECONDITION, field, ": the profile \"", name,
                   "\" is not loaded (apparmor_parser --replace FILE loads it)");
  }
}

void checkApparmor(SecurityProfile::Reader profile, AppArmor* apparmor) {
  auto field = fieldOf("apparmor");
  switch (profile.getKind()) {
    case SecurityProfile::Kind::UNSET:
    case SecurityProfile::Kind::UNCONFINED:
      break;
    case SecurityProfile::Kind::RUNTIME_DEFAULT:
      if (apparmor != nullptr && !apparmor->hasDefault()) {
        snapshot::fail(snapshot::Code::FAILED_PRECONDITION, field, ": the profile ",
                       AppArmor::DEFAULT_PROFILE,
                       " is not loaded; belayd's log says why, as of its start");
      }
      break;
    case SecurityProfile::Kind::LOCALHOST:
      checkOwnProfile(field, profile.getLocalhostRef(), apparmor);
      break;
  }
}

void checkShared(SecurityContext::Reader security, MandatoryAccessControl host) {
  checkNamespaces(security.getNamespaces());
  // Neither is applied to what is privileged.
  if (security.getPrivileged()) return;
  checkSelinux(security.getSelinux(), host.selinux);
  checkApparmor(security.getApparmor(), host.apparmor);
}

kj::Array<kj::String> own(kj::ArrayPtr<const kj::StringPtr> paths) {
  return KJ_MAP(path, paths) {
    return kj::str(path);
  };
}

kj::Array<kj::String> clients(kj::StringPtr field, capnp::List<capnp::Text>::Reader paths) {
  return KJ_MAP(path, paths) {
    return cleanPath(field, path);
  };
}

}  // namespace

void checkPodSecurity(PodConfig::Reader pod, MandatoryAccessControl host) {
  auto security = pod.getSecurity();
  checkShared(security, host);
  if (security.getNamespaces().getPid() == NamespaceMode::TARGET) {
    refuse(fieldOf("namespace_options.pid"), "TARGET is for containers alone");
  }
  if (security.getRunAsGroup().isValue() && !security.getRunAsUser().isValue()) {
    refuse(fieldOf("run_as_group"), "needs run_as_user");
  }
}

void checkContainerSecurity(ContainerConfig::Reader container, PodConfig::Reader pod,
                            MandatoryAccessControl host) {
  auto security = container.getSecurity();
  checkShared(security, host);
  if (security.getPrivileged() && !pod.getSecurity().getPrivileged()) {
    refuse(fieldOf("privileged"), "the pod is not privileged, so its containers cannot be");
  }
  auto namespaces = security.getNamespaces();
  checkSameUserNamespace(pod.getSecurity().getNamespaces(), namespaces);
  if (namespaces.getPid() == NamespaceMode::TARGET && namespaces.getTargetId().size() == 0) {
    refuse(fieldOf("namespace_options.target_id"), "must be given with the pid mode TARGET");
  }
  if (container.getCdiDevices().size() > 0) {
    notApplied("CDI_devices", "devices by CDI name are not built yet");
  }
}

kj::StringPtr apparmorProfile(SecurityContext::Reader security, AppArmor* apparmor) {
  if (apparmor == nullptr || security.getPrivileged()) return nullptr;
  auto profile = security.getApparmor();
  switch (profile.getKind()) {
    case SecurityProfile::Kind::UNCONFINED:
      return nullptr;
    case SecurityProfile::Kind::LOCALHOST:
      return profile.getLocalhostRef();
    case SecurityProfile::Kind::UNSET:
    case SecurityProfile::Kind::RUNTIME_DEFAULT:
      break;
  }
  return apparmor->hasDefault() ? AppArmor::DEFAULT_PROFILE : nullptr;
}

ProtectedPaths protectedPaths(SecurityContext::Reader security) {
  if (security.getPrivileged()) return {};
  if (security.getMaskedPaths().size() == 0 && security.getReadonlyPaths().size() == 0) {
    if (security.getNamespaces().getUsernsMode() == NamespaceMode::POD) return {};
    return {own(MASKED), own(READ_ONLY)};
  }
  return {clients("masked_paths", security.getMaskedPaths()),
          clients("readonly_paths", security.getReadonlyPaths())};
}

}  // namespace belay::supervisor
