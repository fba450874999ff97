// Which device nodes a cgroup's processes may use.
#pragma once

#include <kj/array.h>
#include <kj/string.h>
#include <kj/vector.h>

#include "shim/spec.capnp.h"

namespace belay::shim {

// Allows what it matches; what no rule matches is forbidden.
struct DeviceRule {
  static constexpr int64_t ANY = -1;

  // 'c' or 'b'.
  char type;

  // Numbers, or ANY.
  int64_t major;
  int64_t minor;

  bool read;
  bool write;
  bool make;
};

// The rules for a container with these devices, and those that every container has: the null device
// and its kind, terminals, and making any node (which is of no use without the right to open it). A
// device without a type is looked up on the host. Throws if it is none.
kj::Vector<DeviceRule> deviceRules(capnp::List<Device>::Reader devices);

// The rule as v1's devices.allow wants it: "c 1:3 rwm".
kj::String formatDeviceRule(const DeviceRule& rule);

// Attaches the rules to a v2 cgroup, whose directory is open as `directory`, as an eBPF program.
// Once for each cgroup: what every attached program allows is allowed. Throws if the kernel
// refuses.
void attachDeviceProgram(int directory, kj::ArrayPtr<const DeviceRule> rules);

}  // namespace belay::shim
