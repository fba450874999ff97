// Device nodes, the usual links below /dev, and the terminal.
#include "shim/engine/rootfs-devices.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "shim/engine/rootfs-paths.h"
#include "shim/sys/mounts.h"
#include "shim/sys/path.h"

namespace belay::shim {
namespace {

constexpr const char* STEP = "make the device";
constexpr mode_t DEFAULT_DEVICE_MODE = 0666;

struct Node {
  mode_t type;
  dev_t number;
  mode_t permissions;
};

Node nodeOf(const Reporter& reporter, Device::Reader device) {
  Node node = {};
  node.permissions = device.getFileMode() & 07777;
  if (device.getType().size() > 0) {
    node.type = device.getType()[0] == 'b' ? S_IFBLK : S_IFCHR;
    node.number = makedev(device.getMajor(), device.getMinor());
  } else {
    struct stat info;
    const char* path = device.getHostPath().cStr();
    if (stat(path, &info) < 0) reporter.fail("look up the host's device", path, errno);
    if (!S_ISCHR(info.st_mode) && !S_ISBLK(info.st_mode)) {
      reporter.refuse(Failure::Code::INVALID_ARGUMENT, "look up the host's device", path,
                      "it is not a device");
    }
    node.type = info.st_mode & S_IFMT;
    node.number = info.st_rdev;
    if (node.permissions == 0) node.permissions = info.st_mode & 07777;
  }
  if (node.permissions == 0) node.permissions = DEFAULT_DEVICE_MODE;
  return node;
}

bool isSameNode(int directory, const char* name, const Node& node) {
  struct stat info;
  return fstatat(directory, name, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
         (info.st_mode & S_IFMT) == node.type && info.st_rdev == node.number;
}

}  // namespace

void makeDevices(const Reporter& reporter, int root, capnp::List<Device>::Reader devices) {
  for (auto device : devices) {
    const char* path = device.getPath().cStr();
    auto node = nodeOf(reporter, device);
    const char* name;
    int directory = openOrMakeParent(reporter, root, path, linksFor(path), name);
    // The umask is 0 here. What is in the way is not opened or replaced: it must be the same
    // device.
    if (mknodat(directory, name, node.type | node.permissions, node.number) < 0) {
      int error = errno;
      if (error != EEXIST || !isSameNode(directory, name, node)) reporter.fail(STEP, path, error);
    }
    if (device.getHostsOwner() && fchownat(directory, name, 0, 0, AT_SYMLINK_NOFOLLOW) < 0) {
      reporter.fail(STEP, path, errno);
    }
    close(directory);
  }
}

void makeDeviceLinks(const Reporter& reporter, int root) {
  constexpr struct {
    const char* name;
    const char* target;
  } LINKS[] = {
      {"fd", "/proc/self/fd"},       {"stdin", "/proc/self/fd/0"}, {"stdout", "/proc/self/fd/1"},
      {"stderr", "/proc/self/fd/2"}, {"ptmx", "pts/ptmx"},
  };
  int dev = sys::openInRoot(root, "/dev", O_PATH | O_DIRECTORY, 0, RESOLVE_NO_SYMLINKS);
  if (dev < 0) reporter.fail("open", "/dev", errno);
  for (auto& link : LINKS) {
    if (symlinkat(link.target, dev, link.name) < 0 && errno != EEXIST) {
      reporter.fail("make the link below /dev", link.name, errno);
    }
  }
  close(dev);
}

Terminal openTerminal(const Reporter& reporter, int root) {
  constexpr const char* PTMX = "/dev/pts/ptmx";
  constexpr const char* TERMINAL_STEP = "open a terminal";
  Terminal terminal;
  terminal.master =
      sys::openInRoot(root, PTMX, O_RDWR | O_NOCTTY | O_NONBLOCK, 0, RESOLVE_NO_SYMLINKS);
  if (terminal.master < 0) reporter.fail(TERMINAL_STEP, PTMX, errno);
  struct stat info;
  if (fstat(terminal.master, &info) < 0) reporter.fail(TERMINAL_STEP, PTMX, errno);
  if (!S_ISCHR(info.st_mode) || info.st_rdev != makedev(5, 2)) {
    reporter.refuse(Failure::Code::FAILED_PRECONDITION, TERMINAL_STEP, PTMX,
                    "it is not the pseudo-terminal multiplexer");
  }
  int unlock = 0;
  if (ioctl(terminal.master, TIOCSPTLCK, &unlock) < 0) {
    reporter.fail(TERMINAL_STEP, PTMX, errno);
  }
  // By descriptor, not by the name that the container may have covered.
  terminal.slave = ioctl(terminal.master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (terminal.slave < 0) reporter.fail(TERMINAL_STEP, PTMX, errno);
  return terminal;
}

void mountConsole(const Reporter& reporter, int root, int slave) {
  constexpr const char* CONSOLE = "/dev/console";
  // The slave's own mount is cloned: no name is looked up (CVE-2025-52565).
  int tree = sys::cloneTree(slave, "", sys::Recursion::THIS_MOUNT);
  if (tree < 0) reporter.fail("mount the terminal", CONSOLE, errno);
  int target = openOrMake(reporter, root, CONSOLE, MountPointKind::FILE, Links::REFUSE);
  if (sys::attach(tree, target) < 0) reporter.fail("mount the terminal", CONSOLE, errno);
  close(target);
  close(tree);
}

}  // namespace belay::shim
