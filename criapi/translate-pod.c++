// Pods: a PodSandboxConfig as the supervisor keeps it, and a kept pod as the CRI reports it.
#include "criapi/translate-pod.h"

#include <arpa/inet.h>

#include "criapi/text.h"
#include "criapi/translate-resources.h"
#include "criapi/translate-security.h"

namespace belay::criapi {
namespace {

namespace v1 = runtime::v1;

// sethostname(2) takes no more (HOST_NAME_MAX).
constexpr size_t MAX_HOSTNAME_BYTES = 64;

void fillMetadata(supervisor::PodConfig::Builder builder, const v1::PodSandboxMetadata& metadata,
                  const Field& field) {
  builder.setName(requiredText(metadata.name(), field["name"]));
  builder.setUid(requiredText(metadata.uid(), field["uid"]));
  builder.setNamespace(requiredText(metadata.namespace_(), field["namespace"]));
  builder.setAttempt(metadata.attempt());
}

void fillDns(supervisor::PodConfig::Builder builder, const v1::DNSConfig& dns, const Field& field) {
  builder.setHasDns(true);
  fillTexts(builder.initDnsServers(dns.servers_size()), dns.servers(), field["servers"]);
  fillTexts(builder.initDnsSearches(dns.searches_size()), dns.searches(), field["searches"]);
  fillTexts(builder.initDnsOptions(dns.options_size()), dns.options(), field["options"]);
}

bool isIpAddress(const std::string& text) {
  in6_addr address;
  return inet_pton(AF_INET, text.c_str(), &address) == 1 ||
         inet_pton(AF_INET6, text.c_str(), &address) == 1;
}

supervisor::PortMapping::Protocol protocolOf(v1::Protocol protocol, const Field& field) {
  switch (protocol) {
    case v1::TCP:
      return supervisor::PortMapping::Protocol::TCP;
    case v1::UDP:
      return supervisor::PortMapping::Protocol::UDP;
    case v1::SCTP:
      return supervisor::PortMapping::Protocol::SCTP;
    default:
      field.refuse("must be TCP, UDP or SCTP");
  }
}

void fillPortMapping(supervisor::PortMapping::Builder builder, const v1::PortMapping& mapping,
                     const Field& field) {
  builder.setProtocol(protocolOf(mapping.protocol(), field["protocol"]));
  if (mapping.container_port() < 1 || mapping.container_port() > 65535) {
    field["container_port"].refuse(mapping.container_port(), " is not a port");
  }
  builder.setContainerPort(mapping.container_port());
  // 0 asks for no host port.
  if (mapping.host_port() < 0 || mapping.host_port() > 65535) {
    field["host_port"].refuse(mapping.host_port(), " is not a port");
  }
  builder.setHostPort(mapping.host_port());
  auto hostIp = requestText(mapping.host_ip(), field["host_ip"]);
  if (hostIp.size() > 0 && !isIpAddress(mapping.host_ip())) {
    field["host_ip"].refuse("\"", hostIp, "\" is not an IP address");
  }
  builder.setHostIp(hostIp);
}

void fillLinux(supervisor::PodConfig::Builder builder, const v1::LinuxPodSandboxConfig& linux,
               const Field& field) {
  auto cgroupParent = requestText(linux.cgroup_parent(), field["cgroup_parent"]);
  if (climbs(cgroupParent)) field["cgroup_parent"].refuse("must not hold \"..\"");
  builder.setCgroupParent(cgroupParent);
  fillPodSecurity(builder.initSecurity(), linux.security_context(), field["security_context"]);
  fillPairs(builder.initSysctls(linux.sysctls().size()), linux.sysctls(), field["sysctls"]);
  fillResources(builder.initOverhead(), linux.overhead(), field["overhead"]);
  fillResources(builder.initResources(), linux.resources(), field["resources"]);
}

void fillPodConfig(supervisor::PodConfig::Builder builder, const v1::PodSandboxConfig& config,
                   const Field& field) {
  fillMetadata(builder, config.metadata(), field["metadata"]);
  auto hostname = requestText(config.hostname(), field["hostname"]);
  if (hostname.size() > MAX_HOSTNAME_BYTES) {
    field["hostname"].refuse("is longer than ", MAX_HOSTNAME_BYTES, " bytes");
  }
  builder.setHostname(hostname);
  if (!config.log_directory().empty()) {
    builder.setLogDirectory(absolutePath(config.log_directory(), field["log_directory"]));
  }
  if (config.has_dns_config()) fillDns(builder, config.dns_config(), field["dns_config"]);

  auto mappings = builder.initPortMappings(config.port_mappings_size());
  const Field mappingsField = field["port_mappings"];
  for (int i = 0; i < config.port_mappings_size(); ++i) {
    fillPortMapping(mappings[i], config.port_mappings(i), mappingsField.at(i));
  }
  fillPairs(builder.initLabels(config.labels().size()), config.labels(), field["labels"]);
  fillPairs(builder.initAnnotations(config.annotations().size()), config.annotations(),
            field["annotations"]);
  fillLinux(builder, config.linux(), field["linux"]);
  if (config.has_windows()) field["windows"].refuse("this node runs Linux containers");
}

void readMetadata(supervisor::PodConfig::Reader config, v1::PodSandboxMetadata& metadata) {
  metadata.set_name(replyText(config.getName()));
  metadata.set_uid(replyText(config.getUid()));
  metadata.set_namespace_(replyText(config.getNamespace()));
  metadata.set_attempt(config.getAttempt());
}

}  // namespace

supervisor::Owned<supervisor::PodConfig> podConfigOf(const v1::PodSandboxConfig& config,
                                                     const Field& field) {
  return supervisor::Owned<supervisor::PodConfig>::make(
      [&](supervisor::PodConfig::Builder builder) { fillPodConfig(builder, config, field); });
}

v1::PodSandboxState stateOf(const supervisor::PodView& pod) {
  return pod.ready ? v1::SANDBOX_READY : v1::SANDBOX_NOTREADY;
}

void readPod(const supervisor::PodView& pod, v1::PodSandbox& item) {
  auto record = pod.record.get();
  auto config = record.getConfig();
  item.set_id(replyText(record.getId()));
  readMetadata(config, *item.mutable_metadata());
  item.set_state(stateOf(pod));
  item.set_created_at(record.getCreatedAtNs());
  readPairs(config.getLabels(), *item.mutable_labels());
  readPairs(config.getAnnotations(), *item.mutable_annotations());
  item.set_runtime_handler(replyText(record.getRuntimeHandler()));
}

void readPodStatus(const supervisor::PodView& pod, v1::PodSandboxStatus& status) {
  auto record = pod.record.get();
  auto config = record.getConfig();
  status.set_id(replyText(record.getId()));
  readMetadata(config, *status.mutable_metadata());
  status.set_state(stateOf(pod));
  status.set_created_at(record.getCreatedAtNs());

  // Host network pods have no addresses of their own, stopped ones have given theirs back.
  auto& network = *status.mutable_network();
  auto ips = record.getNetwork().getIps();
  if (pod.ready && ips.size() > 0) {
    network.set_ip(replyText(ips[0]));
    for (uint i = 1; i < ips.size(); ++i) {
      network.add_additional_ips()->set_ip(replyText(ips[i]));
    }
  }
  readNamespaces(config.getSecurity().getNamespaces(),
                 *status.mutable_linux()->mutable_namespaces()->mutable_options());
  readPairs(config.getLabels(), *status.mutable_labels());
  readPairs(config.getAnnotations(), *status.mutable_annotations());
  status.set_runtime_handler(replyText(record.getRuntimeHandler()));
}

}  // namespace belay::criapi
