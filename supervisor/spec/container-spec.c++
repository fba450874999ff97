// From a client's ContainerConfig and an image to what a shim is told to make.
#include <string.h>

#include "supervisor/spec/arguments.h"
#include "supervisor/spec/capabilities.h"
#include "supervisor/spec/check.h"
#include "supervisor/spec/environment.h"
#include "supervisor/spec/mounts.h"
#include "supervisor/spec/resources.h"
#include "supervisor/spec/seccomp-listener.h"
#include "supervisor/spec/security.h"
#include "supervisor/spec/spec.h"
#include "supervisor/spec/user.h"

namespace belay::supervisor {

namespace {

void setBytes(capnp::List<capnp::Data>::Builder list, kj::uint index, kj::StringPtr text) {
  list.set(index, text.asBytes());
}

// HOSTNAME of the pod, as gethostname() inside it will say.
kj::StringPtr visibleHostname(const SpecOptions& options, shim::PodSpec::Reader pod) {
  if (pod.getNetwork() == shim::NamespaceMode::NODE) return options.hostname;
  return pod.getHostname();
}

// Unset means what the operator chose; a privileged container is never filtered.
SeccompFilter seccompFilter(const SpecOptions& options, SeccompFilters& filters,
                            SecurityContext::Reader security, uint64_t bounding) {
  if (security.getPrivileged()) return {};
  auto profile = security.getSeccomp();
  if (profile.getKind() != SecurityProfile::Kind::UNSET || !options.seccompByDefault) {
    return filters.filter(profile, bounding);
  }
  auto byDefault = Owned<SecurityProfile>::make(
      [](auto builder) { builder.setKind(SecurityProfile::Kind::RUNTIME_DEFAULT); });
  return filters.filter(byDefault.get(), bounding);
}

void fillSeccomp(shim::ProcessSpec::Builder process, const SeccompFilter& filter,
                 const ContainerInputs& inputs) {
  process.setSeccompFilter(filter.program);
  process.setSeccompFlags(filter.flags);
  fillSeccompListener(process, filter, inputs.id, kj::str(inputs.podFilesDir, "/", inputs.id));
}

void fillProcess(shim::ProcessSpec::Builder process, const SpecOptions& options,
                 SeccompFilters& filters, const ContainerInputs& inputs) {
  auto image = inputs.image.getConfig();
  auto security = inputs.config.getSecurity();

  auto arguments = mergeArguments(inputs.config, image);
  auto args = process.initArgs(arguments.size());
  for (kj::uint i = 0; i < arguments.size(); ++i)
    setBytes(args, i, arguments[i]);

  auto environment =
      mergeEnvironment(inputs.config, image, visibleHostname(options, inputs.podSpec));
  auto env = process.initEnv(environment.size());
  for (kj::uint i = 0; i < environment.size(); ++i)
    setBytes(env, i, environment[i]);

  process.setCwd(workingDirectory(inputs.config, image));
  process.setTerminal(inputs.config.getTty());
  fillUser(process.initUser(), security, image);
  auto capabilities = process.initCapabilities();
  fillCapabilities(capabilities, security, options.capabilities);
  process.setNoNewPrivileges(security.getNoNewPrivileges());
  fillSeccomp(process, seccompFilter(options, filters, security, capabilities.getBounding()),
              inputs);
  process.setApparmorProfile(apparmorProfile(security, options.apparmor));
  process.setOomScoreAdj(oomScoreAdj(inputs.config.getResources(), options.oomScoreAdjFloor));
  process.setSetOomScoreAdj(true);
}

kj::String logPath(const ContainerInputs& inputs) {
  kj::StringPtr name = inputs.config.getLogPath();
  kj::StringPtr folder = inputs.podSpec.getLogDirectory();
  if (name.size() == 0 || folder.size() == 0) return nullptr;
  return strictPath("log_path", kj::str(folder, "/", name));
}

void fillPaths(shim::ContainerSpec::Builder spec, SecurityContext::Reader security) {
  auto paths = protectedPaths(security);
  auto masked = spec.initMaskedPaths(paths.masked.size());
  for (kj::uint i = 0; i < masked.size(); ++i)
    masked.set(i, paths.masked[i]);
  auto readonly = spec.initReadonlyPaths(paths.readonly.size());
  for (kj::uint i = 0; i < readonly.size(); ++i)
    readonly.set(i, paths.readonly[i]);
}

void fillFilesystem(shim::ContainerSpec::Builder spec, const ContainerInputs& inputs) {
  auto security = inputs.config.getSecurity();
  spec.setRootfs(inputs.rootfs);
  spec.getRootfs().setReadonly(security.getReadonlyRootfs());

  auto plan = planMounts({
      .config = inputs.config,
      .imageVolumes = inputs.image.getConfig().getVolumes(),
      .podIds = inputs.podSpec.getIds(),
      .podFilesDir = inputs.podFilesDir,
  });
  auto mounts = spec.initMounts(plan.size());
  for (kj::uint i = 0; i < plan.size(); ++i)
    mounts.setWithCaveats(i, plan[i].get());

  fillDevices(spec.initDevices(inputs.devices.size()), inputs.devices);
  spec.setAllDevices(security.getPrivileged());
  fillPaths(spec, security);
}

bool setsTerm(capnp::List<capnp::Data>::Reader env) {
  for (auto line : env) {
    if (line.size() >= 5 && memcmp(line.begin(), "TERM=", 5) == 0) return true;
  }
  return false;
}

}  // namespace

Owned<shim::ContainerSpec> buildContainerSpec(const SpecOptions& options, SeccompFilters& seccomp,
                                              const ContainerInputs& inputs) {
  auto config = inputs.config;
  checkContainerSecurity(config, inputs.pod, {options.apparmor, options.selinux});

  return Owned<shim::ContainerSpec>::make([&](shim::ContainerSpec::Builder spec) {
    spec.setId(inputs.id);
    spec.setName(config.getName());
    spec.setAttempt(config.getAttempt());
    fillProcess(spec.initProcess(), options, seccomp, inputs);
    fillFilesystem(spec, inputs);

    spec.setPid(config.getSecurity().getNamespaces().getPid());
    spec.setTargetContainerId(inputs.targetContainerId);
    spec.setCgroupPath(kj::str(inputs.podSpec.getCgroupPath(), "/", inputs.id));
    fillResources(spec.initResources(), config.getResources());

    spec.setStdin(config.getStdin());
    spec.setStdinOnce(config.getStdinOnce());
    spec.setLogPath(logPath(inputs));
    spec.setLogMaxLineBytes(options.maxLogLineBytes);
    spec.setStopSignal(stopSignal(config, inputs.image.getConfig()));
    spec.setPrivileged(config.getSecurity().getPrivileged());
  });
}

Owned<shim::ProcessSpec> buildExecProcess(shim::ContainerSpec::Reader container,
                                          kj::ArrayPtr<const kj::String> command, bool terminal) {
  if (command.size() == 0 || command[0].size() == 0) refuse("cmd", "no command specified");
  auto own = container.getProcess();
  return Owned<shim::ProcessSpec>(own).with([&](shim::ProcessSpec::Builder process) {
    auto args = process.initArgs(command.size());
    for (kj::uint i = 0; i < command.size(); ++i) {
      requireNoNul("cmd", command[i]);
      setBytes(args, i, command[i]);
    }
    process.setTerminal(terminal);
    auto inherited = own.getEnv();
    if (!terminal || setsTerm(inherited)) return;
    auto env = process.initEnv(inherited.size() + 1);
    for (kj::uint i = 0; i < inherited.size(); ++i)
      env.set(i, inherited[i]);
    setBytes(env, inherited.size(), "TERM=xterm");
  });
}

}  // namespace belay::supervisor
