# What the supervisor keeps: pods, containers and images as their users asked for them. The CRI edge
# translates protobuf to these structs and back; the database stores them as they are; the spec
# builder makes shim/spec.capnp's structs of them. Field meanings are the CRI's (criapi/cri.proto)
# unless said otherwise.

@0xd6b58c6645ab58d4;

using Cxx = import "/capnp/c++.capnp";
using ShimSpec = import "/shim/spec.capnp";
using ShimProtocol = import "/shim/shim.capnp";
$Cxx.namespace("belay::supervisor");

struct Pair {
  key @0 :Text;
  value @1 :Text;
}

struct NamespaceOptions {
  network @0 :ShimSpec.NamespaceMode;
  pid @1 :ShimSpec.NamespaceMode;
  ipc @2 :ShimSpec.NamespaceMode;
  targetId @3 :Text;
  usernsMode @4 :ShimSpec.NamespaceMode = node;
  uidMappings @5 :List(IdMapping);
  gidMappings @6 :List(IdMapping);
}

struct IdMapping {
  hostId @0 :UInt32;
  containerId @1 :UInt32;
  length @2 :UInt32;
}

struct SecurityProfile {
  kind @0 :Kind;
  localhostRef @1 :Text;

  enum Kind {
    unset @0;
    # The message was absent: what that means is the CRI's rule for each profile.

    runtimeDefault @1;
    unconfined @2;
    localhost @3;
  }
}

struct SelinuxOptions {
  user @0 :Text;
  role @1 :Text;
  type @2 :Text;
  level @3 :Text;
}

struct OptionalId {
  union {
    unset @0 :Void;
    value @1 :Int64;
  }
}

struct SecurityContext {
  # Of a pod (LinuxSandboxSecurityContext) or a container (LinuxContainerSecurityContext); the fields
  # that only one of them has are empty in the other.

  namespaces @0 :NamespaceOptions;
  selinux @1 :SelinuxOptions;
  runAsUser @2 :OptionalId;
  runAsGroup @3 :OptionalId;
  runAsUsername @4 :Text;
  readonlyRootfs @5 :Bool;
  supplementalGroups @6 :List(Int64);
  strictGroups @7 :Bool;
  privileged @8 :Bool;
  seccomp @9 :SecurityProfile;
  apparmor @10 :SecurityProfile;
  noNewPrivileges @11 :Bool;
  addCapabilities @12 :List(Text);
  dropCapabilities @13 :List(Text);
  addAmbientCapabilities @14 :List(Text);
  maskedPaths @15 :List(Text);
  readonlyPaths @16 :List(Text);
}

struct PortMapping {
  protocol @0 :Protocol;
  containerPort @1 :Int32;
  hostPort @2 :Int32;
  # 0: no host port.
  hostIp @3 :Text;

  enum Protocol {
    tcp @0;
    udp @1;
    sctp @2;
  }
}

struct LinuxResources {
  # 0 or empty: not set.
  cpuPeriodUs @0 :Int64;
  cpuQuotaUs @1 :Int64;
  cpuShares @2 :Int64;
  memoryLimitBytes @3 :Int64;
  oomScoreAdj @4 :Int64;
  cpusetCpus @5 :Text;
  cpusetMems @6 :Text;
  hugepageLimits @7 :List(ShimSpec.Resources.HugepageLimit);
  unified @8 :List(Pair);
  memorySwapLimitBytes @9 :Int64;
}

struct PodConfig {
  name @0 :Text;
  uid @1 :Text;
  namespace @2 :Text;
  attempt @3 :UInt32;
  hostname @4 :Text;
  logDirectory @5 :Text;
  dnsServers @6 :List(Text);
  dnsSearches @7 :List(Text);
  dnsOptions @8 :List(Text);
  hasDns @9 :Bool;
  portMappings @10 :List(PortMapping);
  labels @11 :List(Pair);
  annotations @12 :List(Pair);
  cgroupParent @13 :Text;
  security @14 :SecurityContext;
  sysctls @15 :List(Pair);
  overhead @16 :LinuxResources;
  resources @17 :LinuxResources;
}

struct Mount {
  containerPath @0 :Text;
  hostPath @1 :Text;
  readonly @2 :Bool;
  selinuxRelabel @3 :Bool;
  propagation @4 :ShimSpec.Mount.Propagation;
  uidMappings @5 :List(IdMapping);
  gidMappings @6 :List(IdMapping);
  recursiveReadonly @7 :Bool;
  image @8 :Text;
  imageSubPath @9 :Text;
  mountOptions @10 :List(Text);
}

struct Device {
  containerPath @0 :Text;
  hostPath @1 :Text;
  permissions @2 :Text;
}

struct Env {
  key @0 :Text;
  value @1 :Data;
}

struct ContainerConfig {
  name @0 :Text;
  attempt @1 :UInt32;
  image @2 :Text;
  # ImageSpec.image: an id, or a reference.

  userSpecifiedImage @3 :Text;
  command @4 :List(Text);
  args @5 :List(Text);
  workingDir @6 :Text;
  envs @7 :List(Env);
  mounts @8 :List(Mount);
  devices @9 :List(Device);
  labels @10 :List(Pair);
  annotations @11 :List(Pair);
  logPath @12 :Text;
  # Relative to the pod's log directory.

  stdin @13 :Bool;
  stdinOnce @14 :Bool;
  tty @15 :Bool;
  resources @16 :LinuxResources;
  security @17 :SecurityContext;
  cdiDevices @18 :List(Text);
  stopSignal @19 :Int32;
  # Signal number; 0 when not given.

  imageAnnotations @20 :List(Pair);
}

enum PodStage {
  # Where a pod's life is. Every step is in the database before its work begins, so that a daemon that
  # dies in the middle leaves a trace that its successor completes or undoes.

  creating @0;
  ready @1;
  stopping @2;
  notReady @3;
  removing @4;
}

struct NetworkAttachment {
  # What CNI DEL will need; complete before ADD is called.

  conflist @0 :Text;
  # The network configuration list, as it was read, with its file name's network.
  netnsPath @1 :Text;
  arguments @2 :List(Pair);
  # CNI_ARGS.
  capabilities @3 :Text;
  # runtimeConfig of the capability arguments, JSON.
  result @4 :Text;
  # ADD's result, JSON; empty before it returned.
  ips @5 :List(Text);
  ifName @6 :Text;
  added @7 :Bool;
  # ADD was begun.
}

struct PodRecord {
  id @0 :Text;
  config @1 :PodConfig;
  runtimeHandler @2 :Text;
  stage @3 :PodStage;
  createdAtNs @4 :Int64;
  network @5 :NetworkAttachment;
  spec @6 :ShimSpec.PodSpec;
  error @7 :Text;

  ownsCgroup @8 :Bool;
  # The pod's cgroup was not there before the first attempt of this pod: it goes with the last one.

  bootId @9 :Text;
  # The boot of the machine in which it was made (random(4)). In another one nothing of it lives.
}

struct ContainerRecord {
  id @0 :Text;
  podId @1 :Text;
  config @2 :ContainerConfig;
  imageId @3 :Text;
  imageRef @4 :Text;
  createdAtNs @5 :Int64;
  last @6 :ShimProtocol.ContainerState;
  # The newest state that the shim told; authoritative once its stage is exited.

  removing @7 :Bool;
  spec @8 :ShimSpec.ContainerSpec;
  creating @9 :Bool;
}
