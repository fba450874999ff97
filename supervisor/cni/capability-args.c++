// CNI's capability arguments.
#include "supervisor/cni/capability-args.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <kj/debug.h>
#include <math.h>
#include <stdlib.h>

#include <string>

#include "snapshot/failure.h"

namespace belay::supervisor {

namespace {

using Json = nlohmann::json;
using snapshot::Code;
using snapshot::fail;

constexpr auto INGRESS = "kubernetes.io/ingress-bandwidth"_kj;
constexpr auto EGRESS = "kubernetes.io/egress-bandwidth"_kj;
// The plug-in wants a burst beside each rate; as peers do, none that would be felt.
constexpr uint32_t BURST_BITS = 0xffffffff;

std::string text(kj::StringPtr from) {
  return std::string(from.begin(), from.size());
}

const char* nameOf(PortMapping::Protocol protocol) {
  switch (protocol) {
    case PortMapping::Protocol::TCP:
      return "tcp";
    case PortMapping::Protocol::UDP:
      return "udp";
    case PortMapping::Protocol::SCTP:
      return "sctp";
  }
  fail(Code::INVALID_ARGUMENT, "port_mappings: an unknown protocol");
}

bool isAddress(kj::StringPtr host) {
  in6_addr buffer;
  return inet_pton(AF_INET, host.cStr(), &buffer) == 1 ||
         inet_pton(AF_INET6, host.cStr(), &buffer) == 1;
}

Json portMappings(PodConfig::Reader pod) {
  Json mappings = Json::array();
  for (auto mapping : pod.getPortMappings()) {
    if (mapping.getHostPort() == 0) continue;
    auto check = [](const char* which, int32_t port) {
      if (port < 1 || port > 65535) {
        fail(Code::INVALID_ARGUMENT, "port_mappings: ", which, " ", port, " is not a port");
      }
    };
    check("host_port", mapping.getHostPort());
    check("container_port", mapping.getContainerPort());
    Json entry = {{"hostPort", mapping.getHostPort()},
                  {"containerPort", mapping.getContainerPort()},
                  {"protocol", nameOf(mapping.getProtocol())}};
    kj::StringPtr host = mapping.getHostIp();
    if (host.size() > 0) {
      if (!isAddress(host)) {
        fail(Code::INVALID_ARGUMENT, "port_mappings: host_ip \"", host, "\" is not an address");
      }
      entry["hostIP"] = text(host);
    }
    mappings.push_back(std::move(entry));
  }
  return mappings;
}

Json strings(capnp::List<capnp::Text>::Reader list) {
  Json result = Json::array();
  for (kj::StringPtr entry : list)
    result.push_back(text(entry));
  return result;
}

Json dns(PodConfig::Reader pod) {
  return {{"servers", strings(pod.getDnsServers())},
          {"searches", strings(pod.getDnsSearches())},
          {"options", strings(pod.getDnsOptions())}};
}

uint64_t rate(kj::StringPtr annotation, kj::StringPtr value) {
  KJ_IF_MAYBE (bits, parseQuantity(value)) {
    if (*bits > 0) return *bits;
  }
  fail(Code::INVALID_ARGUMENT, "annotations: ", annotation, " \"", value,
       "\" is not a rate like 10M, in bits per second");
}

Json bandwidth(PodConfig::Reader pod) {
  Json result = Json::object();
  for (auto annotation : pod.getAnnotations()) {
    kj::StringPtr key = annotation.getKey();
    if (key == INGRESS) {
      result["ingressRate"] = rate(key, annotation.getValue());
      result["ingressBurst"] = BURST_BITS;
    } else if (key == EGRESS) {
      result["egressRate"] = rate(key, annotation.getValue());
      result["egressBurst"] = BURST_BITS;
    }
  }
  return result;
}

Json annotations(PodConfig::Reader pod) {
  Json result = Json::object();
  for (auto pair : pod.getAnnotations())
    result[text(pair.getKey())] = text(pair.getValue());
  return result;
}

}  // namespace

Json capabilityArguments(PodConfig::Reader pod) {
  Json all = Json::object();
  auto put = [&](const char* capability, Json value) {
    if (!value.empty()) all[capability] = std::move(value);
  };
  put("portMappings", portMappings(pod));
  if (pod.getHasDns()) put("dns", dns(pod));
  put("bandwidth", bandwidth(pod));
  put("io.kubernetes.cri.pod-annotations", annotations(pod));
  return all;
}

Json argumentsFor(const Json& plugin, const Json& all) {
  Json chosen = Json::object();
  auto declared = plugin.find("capabilities");
  if (declared == plugin.end() || !declared->is_object()) return chosen;
  for (auto& [capability, value] : all.items()) {
    auto found = declared->find(capability);
    if (found != declared->end() && found->is_boolean() && found->get<bool>()) {
      chosen[capability] = value;
    }
  }
  return chosen;
}

kj::Maybe<uint64_t> parseQuantity(kj::StringPtr quantity) {
  if (quantity.size() == 0 || !(isdigit(quantity[0]) || quantity[0] == '.')) return nullptr;
  // "0x10" is a number to strtod, and no quantity.
  if (quantity.size() > 1 && tolower(quantity[1]) == 'x') return nullptr;
  char* end;
  double number = strtod(quantity.cStr(), &end);
  kj::StringPtr suffix(end);
  struct Scale {
    kj::StringPtr suffix;
    double factor;
  };
  static constexpr Scale SCALES[] = {
      {""_kj, 1},        {"m"_kj, 1e-3},    {"k"_kj, 1e3},     {"M"_kj, 1e6},
      {"G"_kj, 1e9},     {"T"_kj, 1e12},    {"P"_kj, 1e15},    {"Ki"_kj, 0x1p10},
      {"Mi"_kj, 0x1p20}, {"Gi"_kj, 0x1p30}, {"Ti"_kj, 0x1p40}, {"Pi"_kj, 0x1p50},
  };
  for (auto& scale : SCALES) {
    if (suffix != scale.suffix) continue;
    double value = ceil(number * scale.factor);
    if (!(value < 0x1p63)) return nullptr;
    return static_cast<uint64_t>(value);
  }
  return nullptr;
}

}  // namespace belay::supervisor
