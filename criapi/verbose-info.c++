// The "info" of verbose statuses.
#include "criapi/verbose-info.h"

#include <nlohmann/json.hpp>

#include "criapi/text.h"

namespace belay::criapi {
namespace {

using Json = nlohmann::ordered_json;

std::string dump(const Json& json) {
  // What is no UTF-8 is replaced: an exception here would cost the client the whole status.
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string text(kj::StringPtr value) {
  return std::string(value.begin(), value.size());
}

std::string text(capnp::Data::Reader value) {
  return std::string(value.asChars().begin(), value.size());
}

// JSON that somebody else wrote; null when it is none.
Json parsed(kj::ArrayPtr<const char> json) {
  auto value = Json::parse(json.begin(), json.end(), nullptr, /*allow_exceptions=*/false);
  return value.is_discarded() ? Json() : value;
}

template <typename List>
Json strings(List list) {
  auto array = Json::array();
  for (auto item : list) {
    array.push_back(text(item));
  }
  return array;
}

Json map(PairsReader pairs) {
  auto object = Json::object();
  for (auto pair : pairs) {
    object[text(pair.getKey())] = text(pair.getValue());
  }
  return object;
}

Json resources(supervisor::LinuxResources::Reader resources) {
  return {
      {"cpu_period", resources.getCpuPeriodUs()},
      {"cpu_quota", resources.getCpuQuotaUs()},
      {"cpu_shares", resources.getCpuShares()},
      {"memory_limit_in_bytes", resources.getMemoryLimitBytes()},
      {"memory_swap_limit_in_bytes", resources.getMemorySwapLimitBytes()},
      {"oom_score_adj", resources.getOomScoreAdj()},
      {"cpuset_cpus", text(resources.getCpusetCpus())},
      {"cpuset_mems", text(resources.getCpusetMems())},
      {"unified", map(resources.getUnified())},
  };
}

Json podConfig(supervisor::PodConfig::Reader config) {
  return {
      {"metadata",
       {{"name", text(config.getName())},
        {"uid", text(config.getUid())},
        {"namespace", text(config.getNamespace())},
        {"attempt", config.getAttempt()}}},
      {"hostname", text(config.getHostname())},
      {"log_directory", text(config.getLogDirectory())},
      {"dns_config",
       {{"servers", strings(config.getDnsServers())},
        {"searches", strings(config.getDnsSearches())},
        {"options", strings(config.getDnsOptions())}}},
      {"labels", map(config.getLabels())},
      {"annotations", map(config.getAnnotations())},
      {"linux",
       {{"cgroup_parent", text(config.getCgroupParent())},
        {"sysctls", map(config.getSysctls())},
        {"overhead", resources(config.getOverhead())},
        {"resources", resources(config.getResources())}}},
  };
}

Json containerMounts(supervisor::ContainerConfig::Reader config) {
  auto array = Json::array();
  for (auto mount : config.getMounts()) {
    array.push_back({{"container_path", text(mount.getContainerPath())},
                     {"host_path", text(mount.getHostPath())},
                     {"readonly", mount.getReadonly()}});
  }
  return array;
}

Json containerEnvs(supervisor::ContainerConfig::Reader config) {
  auto array = Json::array();
  for (auto env : config.getEnvs()) {
    array.push_back({{"key", text(env.getKey())}, {"value", text(env.getValue())}});
  }
  return array;
}

Json containerConfig(supervisor::ContainerConfig::Reader config) {
  return {
      {"metadata", {{"name", text(config.getName())}, {"attempt", config.getAttempt()}}},
      {"image",
       {{"image", text(config.getImage())},
        {"user_specified_image", text(config.getUserSpecifiedImage())}}},
      {"command", strings(config.getCommand())},
      {"args", strings(config.getArgs())},
      {"working_dir", text(config.getWorkingDir())},
      {"envs", containerEnvs(config)},
      {"mounts", containerMounts(config)},
      {"labels", map(config.getLabels())},
      {"annotations", map(config.getAnnotations())},
      {"log_path", text(config.getLogPath())},
      {"stdin", config.getStdin()},
      {"stdin_once", config.getStdinOnce()},
      {"tty", config.getTty()},
      {"linux", {{"resources", resources(config.getResources())}}},
  };
}

// A pod's namespaces as runtime-spec lists them: the host's are left out, the network's with the
// path where node agents find it.
Json podNamespaces(shim::PodSpec::Reader spec) {
  auto array = Json::array();
  if (spec.getNetwork() != shim::NamespaceMode::NODE) {
    array.push_back({{"type", "network"}, {"path", text(spec.getNetnsPath())}});
    array.push_back({{"type", "uts"}});
  }
  if (spec.getIpc() != shim::NamespaceMode::NODE) array.push_back({{"type", "ipc"}});
  if (spec.getPid() == shim::NamespaceMode::POD) array.push_back({{"type", "pid"}});
  if (spec.getIds().getCount() > 0) array.push_back({{"type", "user"}});
  return array;
}

Json idMappings(shim::IdMap::Reader ids) {
  if (ids.getCount() == 0) return Json::array();
  return Json::array(
      {{{"containerID", 0}, {"hostID", ids.getFirstHostId()}, {"size", ids.getCount()}}});
}

Json podSpec(shim::PodSpec::Reader spec) {
  return {
      {"hostname", text(spec.getHostname())},
      {"linux",
       {{"cgroupsPath", text(spec.getCgroupPath())},
        {"namespaces", podNamespaces(spec)},
        {"uidMappings", idMappings(spec.getIds())},
        {"gidMappings", idMappings(spec.getIds())}}},
  };
}

Json user(shim::ResolvedUser::Reader user) {
  auto groups = Json::array();
  for (auto group : user.getGroups()) {
    groups.push_back(group);
  }
  return {{"uid", user.getUid()}, {"gid", user.getGid()}, {"additionalGids", groups}};
}

Json mountOf(shim::Mount::Reader mount) {
  auto options = Json::array({mount.getReadonly() ? "ro" : "rw"});
  if (mount.getNoexec()) options.push_back("noexec");
  if (mount.getNosuid()) options.push_back("nosuid");
  if (mount.getNodev()) options.push_back("nodev");
  auto kind = mount.getKind();
  Json json = {{"destination", text(mount.getDestination())}};
  switch (kind.which()) {
    case shim::Mount::Kind::BIND:
      json["type"] = "bind";
      json["source"] = text(kind.getBind().getSource());
      options.push_back(kind.getBind().getRecursive() ? "rbind" : "bind");
      break;
    case shim::Mount::Kind::TMPFS:
      json["type"] = "tmpfs";
      break;
    case shim::Mount::Kind::PROC:
      json["type"] = "proc";
      break;
    case shim::Mount::Kind::SYSFS:
      json["type"] = "sysfs";
      break;
    case shim::Mount::Kind::DEVPTS:
      json["type"] = "devpts";
      break;
    case shim::Mount::Kind::MQUEUE:
      json["type"] = "mqueue";
      break;
    case shim::Mount::Kind::CGROUP:
      json["type"] = "cgroup";
      break;
    case shim::Mount::Kind::VOLUME:
      json["type"] = "bind";
      json["source"] = text(mount.getDestination());
      break;
    case shim::Mount::Kind::SHM:
      json["type"] = "bind";
      json["source"] = "shm";
      break;
  }
  json["options"] = options;
  return json;
}

Json containerSpec(supervisor::ContainerRecord::Reader record) {
  auto spec = record.getSpec();
  auto process = spec.getProcess();
  auto mounts = Json::array();
  for (auto mount : spec.getMounts()) {
    mounts.push_back(mountOf(mount));
  }
  return {
      {"process",
       {{"terminal", process.getTerminal()},
        {"user", user(record.getLast().getUser())},
        {"args", strings(process.getArgs())},
        {"env", strings(process.getEnv())},
        {"cwd", text(process.getCwd())},
        {"noNewPrivileges", process.getNoNewPrivileges()},
        {"oomScoreAdj", process.getOomScoreAdj()},
        {"apparmorProfile", text(process.getApparmorProfile())}}},
      {"root", {{"readonly", spec.getRootfs().getReadonly()}}},
      {"mounts", mounts},
      {"linux",
       {{"cgroupsPath", text(spec.getCgroupPath())},
        {"seccomp", process.getSeccompFilter().size() > 0},
        {"maskedPaths", strings(spec.getMaskedPaths())},
        {"readonlyPaths", strings(spec.getReadonlyPaths())}}},
  };
}

}  // namespace

std::string podInfo(const supervisor::PodView& pod) {
  auto record = pod.record.get();
  return dump({
      {"sandboxID", text(record.getId())},
      {"runtimeHandler", text(record.getRuntimeHandler())},
      {"error", text(record.getError())},
      {"cniResult", parsed(record.getNetwork().getResult())},
      {"config", podConfig(record.getConfig())},
      {"runtimeSpec", podSpec(record.getSpec())},
  });
}

std::string containerInfo(const supervisor::ContainerView& container) {
  auto record = container.record.get();
  return dump({
      {"sandboxID", text(record.getPodId())},
      {"pid", record.getLast().getPid()},
      {"removing", record.getRemoving()},
      {"config", containerConfig(record.getConfig())},
      {"runtimeSpec", containerSpec(record)},
  });
}

std::string imageInfo(snapshot::Image::Reader image) {
  auto layers = image.getLayers();
  return dump({
      {"chainID", layers.size() == 0 ? "" : text(layers[layers.size() - 1].getChainId())},
      {"manifestDigest", text(image.getManifestDigest())},
      {"imageSpec", parsed(image.getConfigJson().asChars())},
  });
}

}  // namespace belay::criapi
