// See confine.h for why; here is how.
#include "criapi/streaming/confine.h"

#include <fcntl.h>
#include <kj/debug.h>
#include <kj/io.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include "snapshot/confine/privileges.h"
#include "snapshot/confine/seccomp-filter.h"

namespace belay::criapi::streaming {
namespace {

// A session needs some 8 MiB of addresses beyond its libraries.
constexpr uint64_t MEMORY_BYTES = 512 * 1024 * 1024;
// A socket for each of the 256 connections that SPDY's streams can carry, and what is always there.
constexpr rlim_t MAX_FDS = 300;

const snapshot::Syscalls SESSION_SYSCALLS = {
    // KJ's event loop.
    "epoll_create1",
    "epoll_ctl",
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_wait",
    "eventfd2",
    "poll",
    "ppoll",
    // Sockets that it has.
    "getsockopt",
    "recvfrom",
    "recvmsg",
    "sendmsg",
    "sendto",
    "shutdown",
};

// The mount is attached nowhere, and goes with the process.
void enterEmptyRoot() {
  int fd;
  KJ_SYSCALL(fd = fsopen("tmpfs", FSOPEN_CLOEXEC));
  kj::AutoCloseFd context(fd);
  KJ_SYSCALL(fsconfig(context, FSCONFIG_SET_STRING, "size", "4096", 0));
  KJ_SYSCALL(fsconfig(context, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0));
  KJ_SYSCALL(
      fd = fsmount(context, FSMOUNT_CLOEXEC,
                   MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC));
  kj::AutoCloseFd root(fd);
  KJ_SYSCALL(fchdir(root));
  KJ_SYSCALL(chroot("."));
}

}  // namespace

void confine() {
  struct rlimit files{MAX_FDS, MAX_FDS};
  KJ_SYSCALL(setrlimit(RLIMIT_NOFILE, &files));
  if (geteuid() == 0) enterEmptyRoot();
  snapshot::dropPrivileges(0, snapshot::FileOwner::NOBODY);
  snapshot::sealProcess(MEMORY_BYTES);
  snapshot::allowOnly({snapshot::BASE_SYSCALLS, snapshot::PIPE_SYSCALLS, SESSION_SYSCALLS});
}

}  // namespace belay::criapi::streaming
