// The device nodes of a container.
#include "supervisor/spec/devices.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <kj/io.h>
#include <kj/map.h>
#include <kj/vector.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <memory>

#include "supervisor/spec/check.h"

namespace belay::supervisor {

namespace {

// Far more than a node full of disks has; bounds the walk of a folder.
constexpr size_t MAX_DEVICES = 8192;
constexpr int MAX_DEPTH = 8;

struct DefaultDevice {
  const char* name;
  uint32_t major, minor;
};

// linux/Documentation/admin-guide/devices.txt.
constexpr DefaultDevice DEFAULTS[] = {
    {"null", 1, 3},   {"zero", 1, 5},    {"full", 1, 7},
    {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0},
};

// By path; what comes later replaces.
using Nodes = kj::TreeMap<kj::String, DeviceNode>;

void put(Nodes& nodes, DeviceNode node) {
  auto key = kj::str(node.path);
  nodes.upsert(kj::mv(key), kj::mv(node));
  if (nodes.size() > MAX_DEVICES) refuse("devices", "more than ", MAX_DEVICES, " device nodes");
}

bool isDevice(const struct stat& info) {
  return S_ISCHR(info.st_mode) || S_ISBLK(info.st_mode);
}

enum class Owner { CONTAINER, HOST };

DeviceNode describe(kj::StringPtr path, kj::StringPtr hostPath, kj::StringPtr access,
                    const struct stat& info, Owner owner) {
  return {kj::str(path),       kj::str(hostPath),   S_ISCHR(info.st_mode) ? 'c' : 'b',
          major(info.st_rdev), minor(info.st_rdev), kj::str(access),
          info.st_mode & 0777, owner == Owner::HOST};
}

struct CloseDir {
  void operator()(DIR* dir) const { closedir(dir); }
};

// Every device node below an open folder; symbolic links are not followed.
struct Walk {
  Nodes& nodes;
  kj::StringPtr access;
  // Names left out directly below the folder: mounts of other things, and what each container has
  // of its own.
  kj::ArrayPtr<const kj::StringPtr> leftOut;
  Owner owner;

  void folder(int fd, kj::StringPtr path, kj::StringPtr hostPath, int depth) const {
    int opened;
    KJ_SYSCALL(opened = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), hostPath);
    kj::AutoCloseFd readable(opened);
    std::unique_ptr<DIR, CloseDir> entries(fdopendir(readable));
    KJ_REQUIRE(entries != nullptr, "cannot list a folder of devices", hostPath, strerror(errno));
    readable.release();  // the stream's now
    while (auto entry = readdir(entries.get())) {
      kj::StringPtr name = entry->d_name;
      if (name == "." || name == "..") continue;
      if (depth == 0 && std::find(leftOut.begin(), leftOut.end(), name) != leftOut.end()) continue;
      one(fd, name, kj::str(path, "/", name), kj::str(hostPath, "/", name), depth);
    }
  }

  void one(int fd, kj::StringPtr name, kj::StringPtr path, kj::StringPtr hostPath,
           int depth) const {
    struct stat info;
    // A node that is gone again is no error: devices come and go.
    if (fstatat(fd, name.cStr(), &info, AT_SYMLINK_NOFOLLOW) < 0) return;
    if (isDevice(info)) {
      put(nodes, describe(path, hostPath, access, info, owner));
    } else if (S_ISDIR(info.st_mode) && depth < MAX_DEPTH) {
      int child = openat(fd, name.cStr(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
      if (child < 0) return;
      kj::AutoCloseFd owned(child);
      folder(owned, path, hostPath, depth + 1);
    }
  }
};

void addDefaults(Nodes& nodes) {
  for (auto& device : DEFAULTS) {
    auto path = kj::str("/dev/", device.name);
    put(nodes, {kj::str(path), kj::str(path), 'c', device.major, device.minor, kj::str("rwm"), 0666,
                false});
  }
}

void addHostDevices(Nodes& nodes) {
  static constexpr kj::StringPtr LEFT_OUT[] = {"pts"_kj,     "shm"_kj,  "fd"_kj,    "mqueue"_kj,
                                               "console"_kj, "ptmx"_kj, ".udev"_kj, "hugepages"_kj};
  int fd;
  KJ_SYSCALL(fd = open("/dev", O_PATH | O_DIRECTORY | O_CLOEXEC));
  kj::AutoCloseFd dev(fd);
  Walk{nodes, "rwm"_kj, kj::ArrayPtr<const kj::StringPtr>(LEFT_OUT), Owner::HOST}.folder(
      dev, "/dev", "/dev", 0);
}

void checkAccess(kj::StringPtr field, kj::StringPtr access) {
  for (char c : access) {
    if (c != 'r' && c != 'w' && c != 'm') {
      refuse(field, "\"", access, "\" holds other letters than r, w, m");
    }
  }
}

void addClientDevice(Nodes& nodes, Device::Reader device, kj::StringPtr field) {
  auto hostField = kj::str(field, ".host_path");
  auto hostPath = cleanPath(hostField, device.getHostPath());
  auto path = device.getContainerPath().size() == 0
                  ? kj::str(hostPath)
                  : cleanPath(kj::str(field, ".container_path"), device.getContainerPath());
  kj::StringPtr access =
      device.getPermissions().size() == 0 ? "rwm"_kj : kj::StringPtr(device.getPermissions());
  checkAccess(kj::str(field, ".permissions"), access);

  int fd = open(hostPath.cStr(), O_PATH | O_CLOEXEC);
  if (fd < 0) refuse(hostField, "cannot open ", hostPath, ": ", strerror(errno));
  kj::AutoCloseFd node(fd);
  struct stat info;
  KJ_SYSCALL(fstat(node, &info), hostPath);
  if (isDevice(info)) {
    put(nodes, describe(path, hostPath, access, info, Owner::CONTAINER));
  } else if (S_ISDIR(info.st_mode)) {
    Walk{nodes, access, nullptr, Owner::CONTAINER}.folder(node, path, hostPath, 0);
  } else {
    refuse(hostField, hostPath, " is neither a device nor a folder");
  }
}

}  // namespace

kj::Array<DeviceNode> planDevices(ContainerConfig::Reader config) {
  Nodes nodes;
  if (config.getSecurity().getPrivileged()) addHostDevices(nodes);
  addDefaults(nodes);
  auto wanted = config.getDevices();
  for (kj::uint i = 0; i < wanted.size(); ++i) {
    addClientDevice(nodes, wanted[i], kj::str("devices[", i, "]"));
  }
  return KJ_MAP(entry, nodes) {
    return kj::mv(entry.value);
  };
}

bool looksAtHost(ContainerConfig::Reader config) {
  return config.getSecurity().getPrivileged() || config.getDevices().size() > 0;
}

void fillDevices(capnp::List<shim::Device>::Builder to, kj::ArrayPtr<const DeviceNode> nodes) {
  for (kj::uint i = 0; i < nodes.size(); ++i) {
    auto& from = nodes[i];
    auto device = to[i];
    device.setPath(from.path);
    device.setHostPath(from.hostPath);
    device.setType(kj::heapString(&from.type, 1));
    device.setMajor(from.major);
    device.setMinor(from.minor);
    device.setAccess(from.access);
    device.setFileMode(from.fileMode);
    device.setHostsOwner(from.hostsOwner);
  }
}

}  // namespace belay::supervisor
