// What is mounted in a container.
#include "supervisor/spec/mounts.h"

#include <algorithm>

#include "supervisor/spec/check.h"
#include "supervisor/spec/user-namespace.h"

namespace belay::supervisor {

namespace {

using MountList = kj::Vector<Owned<shim::Mount>>;

// Same as peers give: room for device nodes, and for what programs wrongly leave in /dev.
constexpr uint64_t DEV_BYTES = 64ull << 20;
constexpr kj::uint MAX_MOUNTS = 4096;

enum class Access { READ_ONLY, READ_WRITE };

// The kernel's filesystems: a container can neither bring devices nor set-id programs into them.
template <typename Fill>
void addKernel(MountList& list, kj::StringPtr destination, Access access, Fill&& fill) {
  list.add(Owned<shim::Mount>::make([&](shim::Mount::Builder mount) {
    mount.setDestination(destination);
    mount.setNosuid(true);
    mount.setNodev(true);
    mount.setNoexec(true);
    mount.setReadonly(access == Access::READ_ONLY);
    fill(mount);
  }));
}

void addKernelFilesystems(MountList& list, bool privileged) {
  auto sys = privileged ? Access::READ_WRITE : Access::READ_ONLY;
  addKernel(list, "/proc", Access::READ_WRITE, [](auto mount) { mount.getKind().setProc(); });
  addKernel(list, "/dev", Access::READ_WRITE, [](auto mount) {
    auto tmpfs = mount.getKind().initTmpfs();
    tmpfs.setSizeBytes(DEV_BYTES);
    tmpfs.setMode(0755);
    // Device nodes live here; the device cgroup says which may be used.
    mount.setNodev(false);
    mount.setNoexec(false);
  });
  addKernel(list, "/dev/pts", Access::READ_WRITE, [](auto mount) {
    mount.getKind().setDevpts();
    mount.setNodev(false);
  });
  addKernel(list, "/dev/mqueue", Access::READ_WRITE,
            [](auto mount) { mount.getKind().setMqueue(); });
  addKernel(list, "/dev/shm", Access::READ_WRITE, [](auto mount) { mount.getKind().setShm(); });
  addKernel(list, "/sys", sys, [](auto mount) { mount.getKind().setSysfs(); });
  addKernel(list, "/sys/fs/cgroup", sys, [](auto mount) { mount.getKind().setCgroup(); });
}

void addPodFiles(MountList& list, kj::StringPtr folder, bool readonly) {
  for (auto name : {"hosts"_kj, "hostname"_kj, "resolv.conf"_kj}) {
    list.add(Owned<shim::Mount>::make([&](shim::Mount::Builder mount) {
      mount.setDestination(kj::str("/etc/", name));
      mount.getKind().initBind().setSource(kj::str(folder, "/", name));
      mount.setReadonly(readonly);
    }));
  }
}

void applyMountOptions(shim::Mount::Builder to, Mount::Reader from, kj::StringPtr field) {
  for (kj::StringPtr option : from.getMountOptions()) {
    if (option == "noexec") {
      to.setNoexec(true);
    } else if (option == "nosuid") {
      to.setNosuid(true);
    } else if (option == "nodev") {
      to.setNodev(true);
    } else {
      refuse(kj::str(field, ".mount_options"), "\"", option,
             "\" is not one of noexec, nosuid, nodev");
    }
  }
}

void refuseUnsupported(Mount::Reader mount, kj::StringPtr field, shim::IdMap::Reader podIds) {
  if (mount.getImage().size() > 0 || mount.getImageSubPath().size() > 0) {
    // The word in front is one that clients look for (pkg/errors of cri-api).
    snapshot::fail(snapshot::Code::UNIMPLEMENTED, "ImageVolumeMountFailed: ", field,
                   ".image: volumes from images are not built yet");
  }
  if (mount.getRecursiveReadonly()) {
    if (!mount.getReadonly()) refuse(kj::str(field, ".recursive_read_only"), "needs readonly");
    if (mount.getPropagation() != shim::Mount::Propagation::PRIVATE) {
      refuse(kj::str(field, ".recursive_read_only"), "needs the propagation PRIVATE");
    }
  }
  // The kernel makes it a one-way mount (mount_namespaces(7)).
  if (mount.getPropagation() == shim::Mount::Propagation::SHARED && podIds.getCount() > 0) {
    refuse(kj::str(field, ".propagation"),
           "must not be BIDIRECTIONAL: no mount made in the pod's user namespace reaches the host");
  }
}

Owned<shim::Mount> planClientMount(Mount::Reader from, kj::StringPtr field,
                                   shim::IdMap::Reader podIds) {
  refuseUnsupported(from, field, podIds);
  auto pathField = kj::str(field, ".container_path");
  if (from.getContainerPath().size() == 0) refuse(pathField, "must be given");
  auto destination = cleanPath(pathField, from.getContainerPath());
  if (destination == "/") refuse(pathField, "the root cannot be mounted over");
  auto sourceField = kj::str(field, ".host_path");
  if (from.getHostPath().size() == 0) refuse(sourceField, "must be given");
  auto source = cleanPath(sourceField, from.getHostPath());

  return Owned<shim::Mount>::make([&](shim::Mount::Builder mount) {
    mount.setDestination(destination);
    auto bind = mount.getKind().initBind();
    bind.setSource(source);
    bind.setRecursive(true);
    mount.setReadonly(from.getReadonly());
    mount.setRecursiveReadonly(from.getRecursiveReadonly());
    mount.setPropagation(from.getPropagation());
    mount.setIdMapped(isMappedLikePod(from, field, podIds));
    applyMountOptions(mount, from, field);
  });
}

bool isAtOrBelow(kj::StringPtr path, kj::StringPtr folder) {
  return path.startsWith(folder) && (path.size() == folder.size() || path[folder.size()] == '/');
}

// Old images of whole systems declare /sys/fs/cgroup and its like.
void addImageVolumes(MountList& list, capnp::List<capnp::Text>::Reader volumes) {
  if (volumes.size() > MAX_MOUNTS) refuse("the image's volumes", "more than ", MAX_MOUNTS);
  for (kj::StringPtr volume : volumes) {
    auto destination = cleanPath("the image's volumes", volume);
    if (destination == "/") refuse("the image's volumes", "the root cannot be one");
    bool covered = std::any_of(list.begin(), list.end(), [&](auto& mount) {
      return isAtOrBelow(destination, mount.get().getDestination());
    });
    if (covered) continue;
    list.add(Owned<shim::Mount>::make([&](shim::Mount::Builder mount) {
      mount.setDestination(destination);
      mount.getKind().setVolume();
    }));
  }
}

size_t depth(kj::StringPtr path) {
  return std::count(path.begin(), path.end(), '/');
}

// What lies deeper must come later, or it would be covered. Else the order stays.
MountList shallowFirst(const MountList& list) {
  MountList ordered;
  for (size_t level = 1; ordered.size() < list.size(); ++level) {
    for (auto& mount : list) {
      if (depth(mount.get().getDestination()) == level) ordered.add(mount);
    }
  }
  return ordered;
}

}  // namespace

kj::Vector<Owned<shim::Mount>> planMounts(const MountInputs& inputs) {
  auto config = inputs.config;
  auto wanted = config.getMounts();
  if (wanted.size() > MAX_MOUNTS) refuse("mounts", "more than ", MAX_MOUNTS);
  MountList client;
  for (kj::uint i = 0; i < wanted.size(); ++i) {
    client.add(planClientMount(wanted[i], kj::str("mounts[", i, "]"), inputs.podIds));
  }

  MountList defaults;
  addKernelFilesystems(defaults, config.getSecurity().getPrivileged());
  addPodFiles(defaults, inputs.podFilesDir, config.getSecurity().getReadonlyRootfs());

  MountList plan;
  for (auto& mount : defaults) {
    bool replaced = std::any_of(client.begin(), client.end(), [&](auto& other) {
      return other.get().getDestination() == mount.get().getDestination();
    });
    if (!replaced) plan.add(kj::mv(mount));
  }
  for (auto& mount : client)
    plan.add(kj::mv(mount));
  addImageVolumes(plan, inputs.imageVolumes);
  return shallowFirst(plan);
}

}  // namespace belay::supervisor
