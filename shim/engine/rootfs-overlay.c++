// The container's root file system.
#include "shim/engine/rootfs-overlay.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include <charconv>
#include <cstring>

#include "shim/sys/mounts.h"

namespace belay::shim {
namespace {

constexpr const char* STEP = "mount the rootfs";
constexpr const char* LAYER_STEP = "open the layer";

// The kernel takes no value longer than 255 bytes for a key of fsconfig(2), and paths may be: every
// directory is named by a descriptor.
struct FdPath {
  char text[32];

  explicit FdPath(int fd) {
    constexpr char PREFIX[] = "/proc/self/fd/";
    memcpy(text, PREFIX, sizeof(PREFIX));
    *std::to_chars(text + sizeof(PREFIX) - 1, text + sizeof(text) - 1, fd).ptr = '\0';
  }
};

int openDirectoryAt(const Reporter& reporter, int directory, const char* path) {
  int fd = openat(directory, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) reporter.fail(LAYER_STEP, path, errno);
  return fd;
}

// Overlay itself cannot be id-mapped, and it takes no layer that is not mounted.
int openMapped(const Reporter& reporter, const char* path, PodUsers users) {
  int tree = sys::cloneTree(AT_FDCWD, path, sys::Recursion::THIS_MOUNT);
  if (tree < 0) reporter.fail(LAYER_STEP, path, errno);
  if (sys::mapIds(tree, users.userNamespace) < 0) {
    reporter.fail("map the ids of the layer", path, errno);
  }
  if (move_mount(tree, "", AT_FDCWD, ".", MOVE_MOUNT_F_EMPTY_PATH) < 0) {
    reporter.fail(LAYER_STEP, path, errno);
  }
  return tree;
}

int openLayer(const Reporter& reporter, const char* path, PodUsers users) {
  return users.isOwn() ? openMapped(reporter, path, users)
                       : openDirectoryAt(reporter, AT_FDCWD, path);
}

// The folder of new files and overlay's own beside it.
struct Writable {
  int upper;
  int work;
};

// They must be of one mount: when it is mapped, that of the folder they lie in.
Writable openWritable(const Reporter& reporter, Rootfs::Reader rootfs, PodUsers users) {
  const char* upper = rootfs.getUpper().cStr();
  const char* work = rootfs.getWork().cStr();
  if (!users.isOwn()) {
    return {openDirectoryAt(reporter, AT_FDCWD, upper), openDirectoryAt(reporter, AT_FDCWD, work)};
  }
  const char* slash = strrchr(upper, '/');
  char parent[PATH_MAX];
  size_t length = slash == nullptr ? 0 : slash - upper;
  if (length == 0 || length >= sizeof(parent) || strncmp(upper, work, length + 1) != 0 ||
      strchr(work + length + 1, '/') != nullptr) {
    reporter.fail(LAYER_STEP, work, EINVAL, "it is not beside the upper folder");
  }
  memcpy(parent, upper, length);
  parent[length] = '\0';
  int tree = openMapped(reporter, parent, users);
  Writable writable = {openDirectoryAt(reporter, tree, slash + 1),
                       openDirectoryAt(reporter, tree, work + length + 1)};
  close(tree);
  return writable;
}

// A file system being configured; closed at the end of the scope.
struct Context {
  const Reporter& reporter;
  int fd;

  ~Context() { close(fd); }

  [[noreturn]] void fail(const char* object) {
    int error = errno;
    char log[200];
    sys::readMountLog(fd, log, sizeof(log));
    reporter.fail(STEP, object, error, log);
  }

  // Closes the directory.
  void setDirectory(const char* key, int directory, const char* path) {
    if (fsconfig(fd, FSCONFIG_SET_STRING, key, FdPath(directory).text, 0) < 0) fail(path);
    close(directory);
  }

  // "key" or "key=value".
  void setOption(const char* option) {
    char key[256];
    const char* equals = strchrnul(option, '=');
    if (size_t(equals - option) >= sizeof(key)) reporter.fail(STEP, option, ENAMETOOLONG);
    memcpy(key, option, equals - option);
    key[equals - option] = '\0';
    int result = *equals == '\0' ? fsconfig(fd, FSCONFIG_SET_FLAG, key, nullptr, 0)
                                 : fsconfig(fd, FSCONFIG_SET_STRING, key, equals + 1, 0);
    if (result < 0) fail(option);
  }
};

// False if this kernel has no "lowerdir+".
bool setLayers(Context& context, capnp::List<capnp::Text>::Reader layers, PodUsers users) {
  for (auto layer : layers) {
    int directory = openLayer(context.reporter, layer.cStr(), users);
    int result = fsconfig(context.fd, FSCONFIG_SET_STRING, "lowerdir+", FdPath(directory).text, 0);
    int error = errno;
    close(directory);
    if (result == 0) continue;
    errno = error;
    if (errno == EINVAL && layer == layers[0]) return false;
    context.fail(layer.cStr());
  }
  return true;
}

int mountByContext(const Reporter& reporter, Rootfs::Reader rootfs, PodUsers users) {
  Context context = {reporter, fsopen("overlay", FSOPEN_CLOEXEC)};
  if (context.fd < 0) reporter.fail(STEP, "overlay", errno);
  if (!setLayers(context, rootfs.getLower(), users)) return -1;
  if (rootfs.getUpper().size() > 0) {
    auto writable = openWritable(reporter, rootfs, users);
    context.setDirectory("upperdir", writable.upper, rootfs.getUpper().cStr());
    context.setDirectory("workdir", writable.work, rootfs.getWork().cStr());
  }
  for (auto option : rootfs.getOptions())
    context.setOption(option.cStr());
  if (fsconfig(context.fd, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) < 0) context.fail("overlay");
  int root = fsmount(context.fd, FSMOUNT_CLOEXEC, 0);
  if (root < 0) context.fail("overlay");
  if (move_mount(root, "", AT_FDCWD, ".", MOVE_MOUNT_F_EMPTY_PATH) < 0) context.fail("overlay");
  return root;
}

// The one page that mount(2) takes.
struct MountData {
  const Reporter& reporter;
  char text[4096] = {};
  size_t size = 0;

  void add(const char* part) {
    size_t length = strlen(part);
    if (size + length >= sizeof(text)) {
      reporter.fail(STEP, "overlay", E2BIG, "more layers than this kernel's mount(2) can be told");
    }
    memcpy(text + size, part, length + 1);
    size += length;
  }
};

int mountByCall(const Reporter& reporter, Rootfs::Reader rootfs, PodUsers users) {
  MountData data = {reporter};
  // The descriptors stay open until this child closes everything.
  const char* separator = "lowerdir=";
  for (auto layer : rootfs.getLower()) {
    data.add(separator);
    data.add(FdPath(openLayer(reporter, layer.cStr(), users)).text);
    separator = ":";
  }
  if (rootfs.getUpper().size() > 0) {
    auto writable = openWritable(reporter, rootfs, users);
    data.add(",upperdir=");
    data.add(FdPath(writable.upper).text);
    data.add(",workdir=");
    data.add(FdPath(writable.work).text);
  }
  for (auto option : rootfs.getOptions()) {
    data.add(",");
    data.add(option.cStr());
  }
  if (mount("overlay", ".", "overlay", 0, data.text) < 0) reporter.fail(STEP, "overlay", errno);

  // "." is still what the mount covers: only its name leads to the mount.
  char here[PATH_MAX];
  if (getcwd(here, sizeof(here)) == nullptr) reporter.fail(STEP, "overlay", errno);
  int root = open(here, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) reporter.fail(STEP, here, errno);
  return root;
}

}  // namespace

int mountOverlay(const Reporter& reporter, Rootfs::Reader rootfs, PodUsers users, OverlayWay way) {
  int root = way == OverlayWay::BEST ? mountByContext(reporter, rootfs, users) : -1;
  if (root < 0) root = mountByCall(reporter, rootfs, users);
  return root;
}

}  // namespace belay::shim
