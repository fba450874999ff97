// Kernel parameters of a pod's own namespaces.
#include "supervisor/spec/sysctls.h"

#include <ctype.h>

#include <algorithm>

#include "supervisor/spec/check.h"

namespace belay::supervisor {

namespace {

constexpr size_t MAX_VALUE_BYTES = 1024;

// "net/ipv4/conf/eth0.1/forwarding" is "net.ipv4.conf.eth0/1.forwarding": a dot in an interface's
// name is written with the other separator.
kj::String withDots(kj::StringPtr name) {
  auto text = kj::str(name);
  auto separator =
      std::find_if(text.begin(), text.end(), [](char c) { return c == '.' || c == '/'; });
  if (separator == text.end() || *separator == '.') return text;
  for (char& c : text) {
    if (c == '/') {
      c = '.';
    } else if (c == '.') {
      c = '/';
    }
  }
  return text;
}

void checkName(kj::StringPtr field, kj::StringPtr name) {
  bool wellFormed =
      name.size() > 0 && name.size() < 256 && name[0] != '.' && name.findFirst('.') != nullptr;
  for (size_t i = 0; i < name.size(); ++i) {
    char c = name[i];
    wellFormed = wellFormed && (isalnum(c) || c == '.' || c == '/' || c == '_' || c == '-');
    // Neither empty parts nor, once it is a path below /proc/sys, a way out of it.
    if (i > 0)
      wellFormed =
          wellFormed && !((c == '.' || c == '/') && (name[i - 1] == '.' || name[i - 1] == '/'));
  }
  if (!wellFormed) refuse(field, "\"", name, "\" is not a kernel parameter's name");
}

bool isIpc(kj::StringPtr name) {
  static constexpr kj::StringPtr NAMES[] = {
      "kernel.msgmax"_kj, "kernel.msgmnb"_kj, "kernel.msgmni"_kj,          "kernel.sem"_kj,
      "kernel.shmall"_kj, "kernel.shmmax"_kj, "kernel.shm_rmid_forced"_kj, "kernel.shmmni"_kj,
  };
  for (auto known : NAMES) {
    if (name == known) return true;
  }
  return name.startsWith("fs.mqueue.");
}

// Of those that ping_group_range takes: it must exist in the pod's user namespace.
uint32_t lastGroup(NamespaceOptions::Reader namespaces) {
  constexpr uint32_t LAST = 2147483647;
  auto mappings = namespaces.getGidMappings();
  return mappings.size() == 0 ? LAST : std::min(LAST, mappings[0].getLength() - 1);
}

void checkNamespaced(kj::StringPtr field, kj::StringPtr name, NamespaceOptions::Reader namespaces) {
  if (name.startsWith("net.")) {
    if (namespaces.getNetwork() == shim::NamespaceMode::NODE) {
      refuse(field, "\"", name, "\" would change the host: the pod is in the host's network");
    }
  } else if (isIpc(name)) {
    if (namespaces.getIpc() == shim::NamespaceMode::NODE) {
      refuse(field, "\"", name, "\" would change the host: the pod has the host's IPC namespace");
    }
  } else {
    refuse(field, "\"", name, "\" does not belong to a namespace of the pod");
  }
}

}  // namespace

kj::Vector<Sysctl> planSysctls(PodConfig::Reader pod, SysctlDefaults defaults) {
  constexpr auto field = "linux.sysctls"_kj;
  auto namespaces = pod.getSecurity().getNamespaces();
  kj::Vector<Sysctl> plan;
  auto has = [&](kj::StringPtr name) {
    return std::any_of(plan.begin(), plan.end(), [&](auto& sysctl) { return sysctl.name == name; });
  };

  for (auto pair : pod.getSysctls()) {
    auto name = withDots(pair.getKey());
    kj::StringPtr value = pair.getValue();
    checkName(field, name);
    checkNamespaced(field, name, namespaces);
    requireNoNul(field, value);
    if (value.size() > MAX_VALUE_BYTES) refuse(field, "the value of \"", name, "\" is too long");
    if (has(name)) refuse(field, "\"", name, "\" is given twice");
    plan.add(Sysctl{kj::mv(name), kj::str(value)});
  }

  if (namespaces.getNetwork() == shim::NamespaceMode::NODE) return plan;
  auto addDefault = [&](bool wanted, kj::StringPtr name, kj::StringPtr value) {
    if (wanted && !has(name)) plan.add(Sysctl{kj::str(name), kj::str(value)});
  };
  addDefault(defaults.unprivilegedPorts, "net.ipv4.ip_unprivileged_port_start", "0");
  addDefault(defaults.unprivilegedIcmp, "net.ipv4.ping_group_range",
             kj::str("0 ", lastGroup(namespaces)));
  return plan;
}

}  // namespace belay::supervisor
