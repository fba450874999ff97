# What a shim is told to make: pods and containers with every CRI default already applied and every
# image setting merged in, so that the shim applies and never interprets. Written by the supervisor,
# stored in its database, replayed to nobody: a shim keeps its own copy.

@0xd6523576a95cd91a;

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("belay::shim");

enum NamespaceMode {
  pod @0;
  # Shared by the pod's containers.

  container @1;
  # The container's own.

  node @2;
  # The host's.

  target @3;
  # Another container's of this pod (targetContainerId).
}

struct PodSpec {
  id @0 :Text;
  name @1 :Text;
  namespace @2 :Text;
  uid @3 :Text;
  attempt @4 :UInt32;

  hostname @5 :Text;
  # Empty in the host's UTS namespace.

  network @6 :NamespaceMode;
  ipc @7 :NamespaceMode;
  pid @8 :NamespaceMode;

  netnsPath @9 :Text;
  # Where the network namespace is pinned, "/run/netns/cni-UUID": CNI_NETNS. Empty with network=node.

  cgroupPath @10 :Text;
  # The pod's cgroup below each hierarchy's root, "/kubepods/burstable/podUID" or the supervisor's
  # default. Made if absent; removed with the pod only if the shim made it and
  # nobody else uses it: attempts of one pod share it. The shared pid namespace's first process, if
  # there is one, is below, in "init-<pod id>".

  sysctls @11 :List(Sysctl);
  logDirectory @12 :Text;
  shmBytes @13 :UInt64;
  # Size of the pod's shared /dev/shm.

  ids @14 :IdMap;

  struct Sysctl {
    name @0 :Text;
    # With dots; each is known to belong to one of the pod's own namespaces.

    value @1 :Text;
  }
}

struct IdMap {
  # Of a pod's own user namespace: its uids and gids 0 to count - 1 are firstHostId and those after it
  # on the host. Count 0: the pod is in the host's user namespace.
  firstHostId @0 :UInt32;
  count @1 :UInt32;
}

struct Rootfs {
  # An overlay that the container's set-up child mounts inside its own mount namespace.

  lower @0 :List(Text);
  # Absolute paths of the layers' folders, top layer first.

  upper @1 :Text;
  work @2 :Text;
  options @3 :List(Text);
  # Further flags and "key=value" for fsconfig, e.g. "userxattr".

  readonly @4 :Bool;
}

struct Mount {
  destination @0 :Text;
  # Inside the container; resolved with RESOLVE_IN_ROOT and made if absent.

  kind :union {
    bind :group {
      source @1 :Text;
      # On the host, absolute. Opened by a killable child, never by the shim or the supervisor.

      recursive @2 :Bool;
    }
    tmpfs :group {
      sizeBytes @3 :UInt64;
      mode @4 :UInt32;
    }
    proc @5 :Void;
    sysfs @6 :Void;
    devpts @7 :Void;
    mqueue @8 :Void;
    cgroup @9 :Void;
    shm @10 :Void;
    # The pod's shared /dev/shm.

    volume @18 :Void;
    # What the rootfs has at the destination, as a mount of its own: it stays writable when the
    # rootfs is read-only. A directory is made if nothing is there.
  }

  readonly @11 :Bool;
  recursiveReadonly @12 :Bool;
  noexec @13 :Bool;
  nosuid @14 :Bool;
  nodev @15 :Bool;
  propagation @16 :Propagation;

  idMapped @17 :Bool;
  # Of a bind mount: its owners are those of the file system as seen from the pod's user namespace,
  # so that the host's root is the container's root there. Mounts below keep theirs.

  enum Propagation {
    private @0;
    slave @1;
    shared @2;
  }
}

struct Device {
  path @0 :Text;
  # Inside the container.

  hostPath @1 :Text;
  type @2 :Text;
  # "c" or "b"; empty: as the host's node says.

  major @3 :UInt32;
  minor @4 :UInt32;
  access @5 :Text;
  # Of "rwm", for the device cgroup.

  fileMode @6 :UInt32;

  hostsOwner @7 :Bool;
  # The node belongs to the host's root, not to the container's: in a user namespace of the pod only
  # what is open to everybody is open there.
}

struct User {
  union {
    uid @0 :UInt32;
    name @1 :Text;
    # As an image says it: "name", "uid", "name:group", "uid:gid", looked up in the rootfs's
    # /etc/passwd and /etc/group.
  }
  group :union {
    fromPasswd @2 :Void;
    gid @3 :UInt32;
  }
  additionalGids @4 :List(UInt32);
  strictGroups @5 :Bool;
  # Supplemental groups policy Strict: nothing from the image's /etc/group.
}

struct Capabilities {
  # Bit n is capability n of linux/capability.h.
  bounding @0 :UInt64;
  effective @1 :UInt64;
  permitted @2 :UInt64;
  inheritable @3 :UInt64;
  ambient @4 :UInt64;
}

struct Rlimit {
  resource @0 :Int32;
  # RLIMIT_* of the kernel.
  soft @1 :UInt64;
  hard @2 :UInt64;
}

struct ProcessSpec {
  args @0 :List(Data);
  env @1 :List(Data);
  # "NAME=value"; bytes, since CRI env values need not be UTF-8.

  cwd @2 :Text;
  # Made if absent, as the peers do.

  user @3 :User;
  capabilities @4 :Capabilities;
  noNewPrivileges @5 :Bool;
  seccompFilter @6 :Data;
  # A compiled classic BPF program (struct sock_filter[]); empty: unconfined.

  rlimits @7 :List(Rlimit);
  oomScoreAdj @8 :Int32;
  setOomScoreAdj @9 :Bool;
  apparmorProfile @10 :Text;
  terminal @11 :Bool;
  umask @12 :UInt32 = 18;
  # 0022

  seccompFlags @13 :UInt32;
  # SECCOMP_FILTER_FLAG_* of linux/seccomp.h, besides the one for a listener.

  seccompListener @14 :SeccompListener;
  # Absent, or with an empty path: the filter has none.
}

struct SeccompListener {
  # Who answers for the calls that the filter refers to user space (SECCOMP_RET_USER_NOTIF): it gets
  # the descriptor of seccomp_unotify(2), together with the "container process state" of the OCI
  # runtime specification, over a connection that is then closed. The message is
  #
  #   beforePid PID beforeStatus STATUS beforeFirstPid FIRST end
  #
  # PID being the process's; STATUS "creating" for the container's first process and "running" for a
  # later one; FIRST the first process's. Pids are the shim's, in decimal.

  path @0 :Text;
  # Of a listening Unix stream socket on the host. Opened by a killable child.

  beforePid @1 :Text;
  beforeStatus @2 :Text;
  beforeFirstPid @3 :Text;
  end @4 :Text;
}

struct Resources {
  # Zero means not set, unless said otherwise.
  cpuShares @0 :UInt64;
  cpuQuotaUs @1 :Int64;
  cpuPeriodUs @2 :UInt64;
  memoryLimitBytes @3 :Int64;
  memorySwapLimitBytes @4 :Int64;
  # memory + swap, as cgroup v1 counts. -1: unlimited.

  cpusetCpus @5 :Text;
  cpusetMems @6 :Text;
  pidsLimit @7 :Int64;
  hugepageLimits @8 :List(HugepageLimit);
  unified @9 :List(Unified);

  struct HugepageLimit {
    pageSize @0 :Text;
    # "2MB", as in the cgroup's file names.
    limitBytes @1 :UInt64;
  }
  struct Unified {
    key @0 :Text;
    value @1 :Text;
  }
}

struct ContainerSpec {
  id @0 :Text;
  name @1 :Text;
  attempt @2 :UInt32;
  rootfs @3 :Rootfs;
  process @4 :ProcessSpec;
  mounts @5 :List(Mount);
  # In order. /proc, /dev, /sys and their kind are among them: the shim adds none of its own.

  devices @6 :List(Device);
  # Nodes to make below /dev. The device cgroup allows these and nothing else, unless allDevices.

  allDevices @7 :Bool;
  maskedPaths @8 :List(Text);
  readonlyPaths @9 :List(Text);
  pid @10 :NamespaceMode;
  targetContainerId @11 :Text;
  cgroupPath @12 :Text;
  # Below each hierarchy's root: "<pod's cgroup>/<container id>".

  resources @13 :Resources;
  stdin @14 :Bool;
  stdinOnce @15 :Bool;
  logPath @16 :Text;
  # Absolute; empty: output is drained and dropped.

  logMaxLineBytes @17 :UInt32 = 16384;
  stopSignal @18 :Int32;
  # Signal number; 0 is SIGTERM.

  privileged @19 :Bool;
}
