// See confine.h for why; here is how.
#include "snapshot/pull/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "snapshot/confine/privileges.h"
#include "snapshot/confine/seccomp-filter.h"

namespace belay::snapshot {

namespace {

constexpr uint64_t MIB = 1024 * 1024;
// Room for a zstd window of 128 MiB, a pax header and the buffers, several times over.
constexpr uint64_t PARSER_MEMORY_BYTES = 1024 * MIB;
// The resolver's threads reserve stacks and arenas.
constexpr uint64_t NETWORK_MEMORY_BYTES = 4096 * MIB;

constexpr CapabilityMask LAYER_CAPABILITIES = 1 << CAP_CHOWN | 1 << CAP_DAC_OVERRIDE |
                                              1 << CAP_FOWNER | 1 << CAP_FSETID | 1 << CAP_MKNOD |
                                              CapabilityMask{1} << CAP_SETFCAP;

void mountNothingButFolder(kj::AutoCloseFd folder) {
  // A copy of the mount has to be taken before unshare: afterwards the folder's mount belongs to
  // another namespace, and open_tree refuses it.
  int fd;
  KJ_SYSCALL(fd = open_tree(folder, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH));
  kj::AutoCloseFd tree(fd);
  folder = nullptr;
  struct mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  KJ_SYSCALL(mount_setattr(tree, "", AT_EMPTY_PATH, &attributes, sizeof(attributes)));

  KJ_SYSCALL(unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP));
  // Or the mount below would show in the host's namespace, and the unmount would empty it.
  KJ_SYSCALL(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr));
  KJ_SYSCALL(move_mount(tree, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH));
  KJ_SYSCALL(fchdir(tree));
  tree = nullptr;
  // pivot_root(2), NOTES: with "." for both, the old root ends up on top of the new one.
  if (syscall(SYS_pivot_root, ".", ".") == 0) {
    KJ_SYSCALL(umount2(".", MNT_DETACH));
    KJ_SYSCALL(chdir("/"));
  } else {
    // EINVAL: the machine runs on its initramfs, which cannot be pivoted away. The folder's mount
    // covers the old root; without SYS_CHROOT and SYS_ADMIN nothing leads back beneath it.
    KJ_REQUIRE(errno == EINVAL, "pivot_root failed", strerror(errno));
    KJ_SYSCALL(chroot("."));
  }
}

// Landlock by its system calls: Debian 12 has no wrapper for them.
class ReadOnlyView {
 public:
  ReadOnlyView() {
    struct landlock_ruleset_attr attributes{};
    attributes.handled_access_fs = EVERYTHING;
    ruleset = kj::AutoCloseFd(
        static_cast<int>(syscall(SYS_landlock_create_ruleset, &attributes, sizeof(attributes), 0)));
  }

  void allowReading(kj::StringPtr path) {
    if (ruleset == nullptr) return;
    int fd = open(path.cStr(), O_PATH | O_CLOEXEC);
    if (fd < 0) return;  // what is not there need not be read
    kj::AutoCloseFd parent(fd);
    struct landlock_path_beneath_attr rule{};
    struct stat status;
    KJ_SYSCALL(fstat(parent, &status), path);
    // Landlock refuses a folder's right for a file.
    rule.allowed_access =
        LANDLOCK_ACCESS_FS_READ_FILE | (S_ISDIR(status.st_mode) ? LANDLOCK_ACCESS_FS_READ_DIR : 0);
    rule.parent_fd = parent;
    KJ_SYSCALL(syscall(SYS_landlock_add_rule, ruleset.get(), LANDLOCK_RULE_PATH_BENEATH, &rule, 0),
               path);
  }

  // A kernel without Landlock (or with it switched off) leaves the user id, 65534, as the wall.
  void enter() {
    if (ruleset == nullptr) return;
    KJ_SYSCALL(syscall(SYS_landlock_restrict_self, ruleset.get(), 0));
  }

 private:
  // The rights of Landlock ABI 1 (Linux 5.13), which every later kernel knows too.
  static constexpr uint64_t EVERYTHING = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;
  kj::AutoCloseFd ruleset;
};

}  // namespace

void closeAllAbove(int lastFd) {
  KJ_SYSCALL(close_range(lastFd + 1, ~0u, 0));
}

void confineToPipes() {
  dropPrivileges(0, FileOwner::NOBODY);
  sealProcess(PARSER_MEMORY_BYTES);
  dieWithParent();
  allowOnly({BASE_SYSCALLS, PIPE_SYSCALLS});
}

kj::AutoCloseFd confineToFolder(kj::AutoCloseFd folder) {
  KJ_REQUIRE(geteuid() == 0, "unpacking a layer needs root: it creates files with foreign owners");
  mountNothingButFolder(kj::mv(folder));
  int fd;
  KJ_SYSCALL(fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  kj::AutoCloseFd root(fd);
  dropPrivileges(LAYER_CAPABILITIES, FileOwner::ROOT);
  sealProcess(PARSER_MEMORY_BYTES);
  dieWithParent();
  allowOnly({BASE_SYSCALLS, PIPE_SYSCALLS, FILE_TREE_SYSCALLS});
  return root;
}

void confineToNetwork() {
  dropPrivileges(0, FileOwner::NOBODY);
  sealProcess(NETWORK_MEMORY_BYTES);
  dieWithParent();
  ReadOnlyView view;
  for (const char* path : {"/etc", "/usr", "/lib", "/lib64", "/run/systemd/resolve",
                           "/run/resolvconf", "/run/NetworkManager", "/run/nscd", "/dev/urandom",
                           "/dev/null", "/sys/devices/system/cpu"}) {
    view.allowReading(path);
  }
  view.enter();
  deny(FOREIGN_SYSCALLS);
}

void confineToRpc() {
  dropPrivileges(0, FileOwner::NOBODY);
  sealProcess(PARSER_MEMORY_BYTES);
  dieWithParent();
  allowOnly({BASE_SYSCALLS, PIPE_SYSCALLS, RPC_SYSCALLS});
}

}  // namespace belay::snapshot
