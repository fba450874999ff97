// See crictl-json.h.
#include "supervisor/crictl-json.h"

#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "snapshot/failure.h"

namespace belay::supervisor {

namespace {

using Json = nlohmann::json;
using snapshot::Code;
using snapshot::fail;

constexpr size_t MAX_JSON_BYTES = 1 << 20;

// A value and where it stands, for errors: "linux.security_context".
struct Value {
  const Json& json;
  kj::String path;

  [[noreturn]] void refuse(kj::StringPtr expected) const {
    fail(Code::INVALID_ARGUMENT, path.size() == 0 ? kj::str("the file") : kj::str(path), ": ",
         expected, " is expected");
  }
  kj::String text() const {
    if (!json.is_string()) refuse("a string");
    auto& string = json.get_ref<const std::string&>();
    return kj::heapString(string.data(), string.size());
  }
  bool flag() const {
    if (!json.is_boolean()) refuse("true or false");
    return json.get<bool>();
  }
  int64_t number() const {
    if (!json.is_number_integer()) refuse("a whole number");
    return json.get<int64_t>();
  }
  // 64-bit numbers may be strings in protobuf's JSON; wrapped ones are {"value": N}.
  int64_t wrappedNumber() const {
    if (!json.is_object()) return number();
    if (json.size() != 1 || !json.contains("value")) refuse("{\"value\": NUMBER}");
    return Value{json["value"], kj::str(path, ".value")}.number();
  }
};

using Field = std::function<void(const Value&)>;

// Every key of an object is given to its field; an unknown one is an error.
void readObject(const Value& value, const std::map<std::string, Field>& fields) {
  if (!value.json.is_object()) value.refuse("an object");
  for (auto& [key, child] : value.json.items()) {
    auto path =
        value.path.size() == 0 ? kj::str(key.c_str()) : kj::str(value.path, '.', key.c_str());
    auto field = fields.find(key);
    if (field == fields.end())
      fail(Code::INVALID_ARGUMENT, path, ": belayctl does not know this key");
    if (!child.is_null()) field->second({child, kj::mv(path)});
  }
}

size_t sizeOfList(const Value& value) {
  if (!value.json.is_array()) value.refuse("a list");
  return value.json.size();
}

template <typename Each>
void readList(const Value& value, Each&& each) {
  for (size_t i = 0; i < value.json.size(); ++i) {
    each(i, Value{value.json[i], kj::str(value.path, '[', i, ']')});
  }
}

template <typename Init>
Field texts(Init init) {
  return [init](const Value& value) {
    auto list = init(sizeOfList(value));
    readList(value, [&](size_t i, const Value& one) { list.set(i, one.text()); });
  };
}

template <typename Init>
Field pairs(Init init) {
  return [init](const Value& value) {
    if (!value.json.is_object()) value.refuse("an object");
    auto list = init(value.json.size());
    size_t i = 0;
    for (auto& [key, child] : value.json.items()) {
      list[i].setKey(key.c_str());
      list[i++].setValue(Value{child, kj::str(value.path, '.', key.c_str())}.text());
    }
  };
}

template <typename Set>
Field text(Set set) {
  return [set](const Value& value) { set(value.text()); };
}
template <typename Set>
Field flag(Set set) {
  return [set](const Value& value) { set(value.flag()); };
}
template <typename Set>
Field number(Set set) {
  return [set](const Value& value) { set(value.wrappedNumber()); };
}

// Of the CRI's enum, by name or number; shim.capnp has the same order.
shim::NamespaceMode namespaceMode(const Value& value) {
  constexpr const char* NAMES[] = {"POD", "CONTAINER", "NODE", "TARGET"};
  for (size_t i = 0; i < kj::size(NAMES); ++i) {
    bool same = value.json.is_string() ? value.text() == NAMES[i] : value.number() == i;
    if (same) return static_cast<shim::NamespaceMode>(i);
  }
  value.refuse("POD (0), CONTAINER (1), NODE (2) or TARGET (3)");
}

template <typename Set>
Field mode(Set set) {
  return [set](const Value& value) { set(namespaceMode(value)); };
}

void readNamespaces(const Value& value, NamespaceOptions::Builder options) {
  readObject(value, {
                        {"network", mode([&](auto mode) { options.setNetwork(mode); })},
                        {"pid", mode([&](auto mode) { options.setPid(mode); })},
                        {"ipc", mode([&](auto mode) { options.setIpc(mode); })},
                        {"target_id", text([&](auto id) { options.setTargetId(id); })},
                    });
}

void readCapabilities(const Value& value, SecurityContext::Builder security) {
  readObject(value, {
                        {"add_capabilities",
                         texts([&](auto size) { return security.initAddCapabilities(size); })},
                        {"drop_capabilities",
                         texts([&](auto size) { return security.initDropCapabilities(size); })},
                        {"add_ambient_capabilities", texts([&](auto size) {
                           return security.initAddAmbientCapabilities(size);
                         })},
                    });
}

void readSecurity(const Value& value, SecurityContext::Builder security) {
  readObject(value,
             {
                 {"namespace_options",
                  [&](const Value& v) { readNamespaces(v, security.initNamespaces()); }},
                 {"run_as_user", number([&](auto id) { security.initRunAsUser().setValue(id); })},
                 {"run_as_group", number([&](auto id) { security.initRunAsGroup().setValue(id); })},
                 {"run_as_username", text([&](auto name) { security.setRunAsUsername(name); })},
                 {"readonly_rootfs", flag([&](bool yes) { security.setReadonlyRootfs(yes); })},
                 {"privileged", flag([&](bool yes) { security.setPrivileged(yes); })},
                 {"no_new_privs", flag([&](bool yes) { security.setNoNewPrivileges(yes); })},
                 {"capabilities", [&](const Value& v) { readCapabilities(v, security); }},
                 {"supplemental_groups",
                  [&](const Value& v) {
                    auto list = security.initSupplementalGroups(sizeOfList(v));
                    readList(v, [&](size_t i, const Value& one) { list.set(i, one.number()); });
                  }},
             });
}

void readResources(const Value& value, LinuxResources::Builder resources) {
  readObject(value, {
                        {"cpu_period", number([&](auto n) { resources.setCpuPeriodUs(n); })},
                        {"cpu_quota", number([&](auto n) { resources.setCpuQuotaUs(n); })},
                        {"cpu_shares", number([&](auto n) { resources.setCpuShares(n); })},
                        {"memory_limit_in_bytes",
                         number([&](auto n) { resources.setMemoryLimitBytes(n); })},
                        {"memory_swap_limit_in_bytes",
                         number([&](auto n) { resources.setMemorySwapLimitBytes(n); })},
                        {"oom_score_adj", number([&](auto n) { resources.setOomScoreAdj(n); })},
                        {"cpuset_cpus", text([&](auto list) { resources.setCpusetCpus(list); })},
                        {"cpuset_mems", text([&](auto list) { resources.setCpusetMems(list); })},
                    });
}

void readDns(const Value& value, PodConfig::Builder pod) {
  pod.setHasDns(true);
  readObject(value, {
                        {"servers", texts([&](auto size) { return pod.initDnsServers(size); })},
                        {"searches", texts([&](auto size) { return pod.initDnsSearches(size); })},
                        {"options", texts([&](auto size) { return pod.initDnsOptions(size); })},
                    });
}

void readPort(const Value& value, PortMapping::Builder port) {
  readObject(value, {
                        {"protocol", number([&](auto n) {
                           port.setProtocol(static_cast<PortMapping::Protocol>(n));
                         })},
                        {"container_port", number([&](auto n) { port.setContainerPort(n); })},
                        {"host_port", number([&](auto n) { port.setHostPort(n); })},
                        {"host_ip", text([&](auto ip) { port.setHostIp(ip); })},
                    });
}

void readMount(const Value& value, Mount::Builder mount) {
  readObject(value, {
                        {"container_path", text([&](auto path) { mount.setContainerPath(path); })},
                        {"host_path", text([&](auto path) { mount.setHostPath(path); })},
                        {"readonly", flag([&](bool yes) { mount.setReadonly(yes); })},
                    });
}

void readEnv(const Value& value, Env::Builder env) {
  readObject(value, {
                        {"key", text([&](auto key) { env.setKey(key); })},
                        {"value", text([&](auto text) { env.setValue(text.asBytes()); })},
                    });
}

template <typename Init, typename Read>
Field structs(Init init, Read read) {
  return [init, read](const Value& value) {
    auto list = init(sizeOfList(value));
    readList(value, [&](size_t i, const Value& one) { read(one, list[i]); });
  };
}

void readPod(const Value& value, PodConfig::Builder pod) {
  auto metadata = [&](const Value& v) {
    readObject(v, {
                      {"name", text([&](auto name) { pod.setName(name); })},
                      {"uid", text([&](auto uid) { pod.setUid(uid); })},
                      {"namespace", text([&](auto name) { pod.setNamespace(name); })},
                      {"attempt", number([&](auto n) { pod.setAttempt(n); })},
                  });
  };
  auto linux_ = [&](const Value& v) {
    readObject(v, {
                      {"cgroup_parent", text([&](auto path) { pod.setCgroupParent(path); })},
                      {"security_context",
                       [&](const Value& security) { readSecurity(security, pod.initSecurity()); }},
                      {"sysctls", pairs([&](auto size) { return pod.initSysctls(size); })},
                  });
  };
  readObject(value,
             {
                 {"metadata", metadata},
                 {"hostname", text([&](auto name) { pod.setHostname(name); })},
                 {"log_directory", text([&](auto path) { pod.setLogDirectory(path); })},
                 {"dns_config", [&](const Value& v) { readDns(v, pod); }},
                 {"port_mappings",
                  structs([&](auto size) { return pod.initPortMappings(size); }, &readPort)},
                 {"labels", pairs([&](auto size) { return pod.initLabels(size); })},
                 {"annotations", pairs([&](auto size) { return pod.initAnnotations(size); })},
                 {"linux", linux_},
             });
  if (pod.getName().size() == 0) fail(Code::INVALID_ARGUMENT, "metadata.name: it is required");
}

void readContainer(const Value& value, ContainerConfig::Builder container) {
  auto metadata = [&](const Value& v) {
    readObject(v, {
                      {"name", text([&](auto name) { container.setName(name); })},
                      {"attempt", number([&](auto n) { container.setAttempt(n); })},
                  });
  };
  auto image = [&](const Value& v) {
    readObject(v, {{"image", text([&](auto name) {
                      container.setImage(name);
                      container.setUserSpecifiedImage(name);
                    })}});
  };
  auto linux_ = [&](const Value& v) {
    readObject(
        v, {
               {"resources", [&](const Value& r) { readResources(r, container.initResources()); }},
               {"security_context",
                [&](const Value& s) { readSecurity(s, container.initSecurity()); }},
           });
  };
  readObject(
      value,
      {
          {"metadata", metadata},
          {"image", image},
          {"command", texts([&](auto size) { return container.initCommand(size); })},
          {"args", texts([&](auto size) { return container.initArgs(size); })},
          {"working_dir", text([&](auto path) { container.setWorkingDir(path); })},
          {"envs", structs([&](auto size) { return container.initEnvs(size); }, &readEnv)},
          {"mounts", structs([&](auto size) { return container.initMounts(size); }, &readMount)},
          {"labels", pairs([&](auto size) { return container.initLabels(size); })},
          {"annotations", pairs([&](auto size) { return container.initAnnotations(size); })},
          {"log_path", text([&](auto path) { container.setLogPath(path); })},
          {"stdin", flag([&](bool yes) { container.setStdin(yes); })},
          {"stdin_once", flag([&](bool yes) { container.setStdinOnce(yes); })},
          {"tty", flag([&](bool yes) { container.setTty(yes); })},
          {"linux", linux_},
      });
  if (container.getName().size() == 0) {
    fail(Code::INVALID_ARGUMENT, "metadata.name: it is required");
  }
}

Json parse(kj::StringPtr text) {
  if (text.size() > MAX_JSON_BYTES) fail(Code::INVALID_ARGUMENT, "the file is longer than 1 MiB");
  try {
    return Json::parse(text.begin(), text.end());
  } catch (const Json::exception& exception) {
    fail(Code::INVALID_ARGUMENT, "the file is no JSON: ", exception.what());
  }
}

}  // namespace

Owned<PodConfig> podConfigFromJson(kj::StringPtr text) {
  auto json = parse(text);
  return Owned<PodConfig>::make(
      [&](PodConfig::Builder pod) { readPod({json, kj::String()}, pod); });
}

Owned<ContainerConfig> containerConfigFromJson(kj::StringPtr text) {
  auto json = parse(text);
  return Owned<ContainerConfig>::make(
      [&](ContainerConfig::Builder container) { readContainer({json, kj::String()}, container); });
}

}  // namespace belay::supervisor
