// From a client's PodSandboxConfig to what the pod's shim is told to make.
#include "supervisor/spec/cgroup-path.h"
#include "supervisor/spec/check.h"
#include "supervisor/spec/security.h"
#include "supervisor/spec/spec.h"
#include "supervisor/spec/sysctls.h"
#include "supervisor/spec/user-namespace.h"

namespace belay::supervisor {

namespace {

// __NEW_UTS_LEN of the kernel.
constexpr size_t MAX_HOSTNAME_BYTES = 64;

kj::String podHostname(const SpecOptions& options, PodConfig::Reader config) {
  if (config.getSecurity().getNamespaces().getNetwork() == shim::NamespaceMode::NODE) {
    return nullptr;
  }
  kj::StringPtr name = config.getHostname();
  requireNoNul("hostname", name);
  if (name.size() > MAX_HOSTNAME_BYTES) {
    refuse("hostname", "longer than ", MAX_HOSTNAME_BYTES, " bytes");
  }
  return kj::str(name.size() > 0 ? name : kj::StringPtr(options.hostname));
}

}  // namespace

Owned<shim::PodSpec> buildPodSpec(const SpecOptions& options, kj::StringPtr id,
                                  PodConfig::Reader config, kj::StringPtr netnsPath) {
  checkPodSecurity(config, {options.apparmor, options.selinux});
  auto namespaces = config.getSecurity().getNamespaces();
  requireUserNamespaces(namespaces, options.userNamespaceFault);
  bool hostNetwork = namespaces.getNetwork() == shim::NamespaceMode::NODE;

  return Owned<shim::PodSpec>::make([&](shim::PodSpec::Builder spec) {
    spec.setId(id);
    spec.setName(config.getName());
    spec.setNamespace(config.getNamespace());
    spec.setUid(config.getUid());
    spec.setAttempt(config.getAttempt());
    spec.setHostname(podHostname(options, config));
    spec.setNetwork(namespaces.getNetwork());
    spec.setIpc(namespaces.getIpc());
    spec.setPid(namespaces.getPid());
    if (!hostNetwork) spec.setNetnsPath(netnsPath);
    fillIds(spec.initIds(), namespaces);
    spec.setCgroupPath(podCgroupPath(config, options.cgroupDriver, options.cgroupRoot, id));
    if (config.getLogDirectory().size() > 0) {
      spec.setLogDirectory(strictPath("log_directory", config.getLogDirectory()));
    }
    spec.setShmBytes(options.shmBytes);

    auto plan = planSysctls(config, {options.unprivilegedPorts, options.unprivilegedIcmp});
    auto sysctls = spec.initSysctls(plan.size());
    for (kj::uint i = 0; i < plan.size(); ++i) {
      sysctls[i].setName(plan[i].name);
      sysctls[i].setValue(plan[i].value);
    }
  });
}

}  // namespace belay::supervisor
