// From what a client and an image ask to what a shim is told to make: every rule and default of the
// CRI is applied here, so that the shim applies and never interprets. Pure functions of their
// arguments, but for seccomp profiles (compiled and cached).
//
// All throw INVALID_ARGUMENT with a sentence that names field and reason, and UNIMPLEMENTED for
// fields that belay knows but does not apply; a field that cannot be honoured is never passed over.
#pragma once

#include <kj/common.h>
#include <kj/string.h>

#include "shim/spec.capnp.h"
#include "snapshot/image.capnp.h"
#include "supervisor/config/config.h"
#include "supervisor/model.capnp.h"
#include "supervisor/owned.h"
#include "supervisor/spec/apparmor.h"
#include "supervisor/spec/devices.h"
#include "supervisor/spec/seccomp.h"

namespace belay::supervisor {

// What the host and the configuration say, alike for all pods.
struct SpecOptions {
  kj::String cgroupRoot;  // Config::cgroupRoot
  CgroupDriver cgroupDriver = CgroupDriver::CGROUPFS;
  uint64_t shmBytes = 64ull << 20;
  uint32_t maxLogLineBytes = 16384;
  bool seccompByDefault = false;
  bool unprivilegedPorts = true;
  bool unprivilegedIcmp = true;
  // No container gets a lower oom_score_adj: belayd's own when Config::restrictOomScoreAdj, and
  // where belayd lacks CAP_SYS_RESOURCE, without which the kernel refuses.
  kj::Maybe<int32_t> oomScoreAdjFloor;

  // --- facts of the host
  uint64_t capabilities = 0;     // those that can be given at all; bit n is capability n
  kj::String hostname;           // HOSTNAME of pods in the host's network
  AppArmor* apparmor = nullptr;  // null: the kernel has none; outlives these options
  bool selinux = false;
  // Why pods cannot have user namespaces of their own here, a sentence; empty: they can.
  kj::String userNamespaceFault;
};

// Options of this configuration on this host, as it is now.
SpecOptions specOptions(const Config& config);

// `netnsPath` is where the network namespace shall be pinned; ignored for pods in the host's
// network. The pod's cgroup is podCgroupPath()'s.
Owned<shim::PodSpec> buildPodSpec(const SpecOptions& options, kj::StringPtr id,
                                  PodConfig::Reader config, kj::StringPtr netnsPath);

struct ContainerInputs {
  kj::StringPtr id;
  ContainerConfig::Reader config;
  PodConfig::Reader pod;
  shim::PodSpec::Reader podSpec;
  snapshot::Image::Reader image;
  shim::Rootfs::Reader rootfs;  // the snapshotter's; `readonly` is set here
  kj::StringPtr podFilesDir;    // holds hosts, hostname, resolv.conf (pod-files.h)
  // Id of the container that config's namespace option `target` names: its target_id looked up in
  // the pod. Empty otherwise.
  kj::StringPtr targetContainerId;
  kj::ArrayPtr<const DeviceNode> devices;  // planDevices() of `config`
};

// A log path of "" results when either log_path or the pod's log_directory is empty: no log.
Owned<shim::ContainerSpec> buildContainerSpec(const SpecOptions& options, SeccompFilters& seccomp,
                                              const ContainerInputs& inputs);

// The process of an exec in a container: its own but for the arguments.
Owned<shim::ProcessSpec> buildExecProcess(shim::ContainerSpec::Reader container,
                                          kj::ArrayPtr<const kj::String> command, bool terminal);

}  // namespace belay::supervisor
