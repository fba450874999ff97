// Where a container's /proc comes from.
#include "shim/engine/rootfs-proc.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "shim/sys/mounts.h"
#include "shim/sys/path.h"

namespace belay::shim {
namespace {

constexpr const char* STEP = "copy the /proc of the shared pid namespace";

// PROC_ROOT_INO of the kernel.
constexpr ino_t PROC_ROOT_INODE = 1;

// A target with the right to mount may have put anything there. Another procfs than its own, which
// it would have to have got hold of, shows this container no more than the target sees itself.
void checkProcRoot(const Reporter& reporter, int fd) {
  struct statfs system;
  struct stat info;
  if (fstatfs(fd, &system) < 0 || fstat(fd, &info) < 0) reporter.fail(STEP, "/proc", errno);
  if (system.f_type != PROC_SUPER_MAGIC || info.st_ino != PROC_ROOT_INODE) {
    reporter.refuse(Failure::Code::FAILED_PRECONDITION, STEP, "/proc",
                    "the target container has no procfs there");
  }
}

int openHere(const Reporter& reporter, const char* path, int flags) {
  int fd = open(path, flags | O_CLOEXEC);
  if (fd < 0) reporter.fail(STEP, path, errno);
  return fd;
}

// Only from inside its mount namespace can a mount be copied. In the pid namespace this process is
// not: nobody there can see it. Its masks are not copied: the new container has its own.
int copyOfTargets(const Reporter& reporter, int pidfd) {
  int ownMounts = openHere(reporter, "/proc/self/ns/mnt", O_RDONLY);
  int directory = openHere(reporter, ".", O_PATH | O_DIRECTORY);

  if (setns(pidfd, CLONE_NEWNS) < 0) {
    if (errno == ESRCH) {
      reporter.refuse(Failure::Code::FAILED_PRECONDITION, STEP, "",
                      "the target container has exited");
    }
    reporter.fail(STEP, "the target container's mounts", errno);
  }
  int root = openHere(reporter, "/", O_PATH | O_DIRECTORY);
  int proc =
      sys::openInRoot(root, "/proc", O_PATH | O_DIRECTORY | O_NOFOLLOW, 0, RESOLVE_NO_SYMLINKS);
  if (proc < 0) reporter.fail(STEP, "/proc", errno);
  checkProcRoot(reporter, proc);
  int tree = sys::cloneTree(proc, "", sys::Recursion::THIS_MOUNT);
  if (tree < 0) reporter.fail(STEP, "/proc", errno);
  close(proc);
  close(root);

  if (setns(ownMounts, CLONE_NEWNS) < 0 || fchdir(directory) < 0) {
    reporter.fail(STEP, "the way back", errno);
  }
  close(directory);
  close(ownMounts);
  return tree;
}

}  // namespace

int copyHostsProc(const Reporter& reporter) {
  int tree = sys::cloneTree(AT_FDCWD, "/proc", sys::Recursion::THIS_MOUNT);
  if (tree < 0) reporter.fail("copy the host's /proc", "", errno);
  return tree;
}

int newProc(const Reporter& reporter, int hostsProc, uint64_t attributes) {
  if (hostsProc < 0) return sys::newMount("proc", nullptr, 0, attributes);
  constexpr const char* SHOW_STEP = "show the host's /proc";
  // Upon the root, where no path leads to it.
  if (move_mount(hostsProc, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0) {
    reporter.fail(SHOW_STEP, "", errno);
  }
  int proc = sys::newMount("proc", nullptr, 0, attributes);
  int error = errno;
  if (fchdir(hostsProc) < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0) {
    reporter.fail(SHOW_STEP, "take it off again", errno);
  }
  close(hostsProc);
  errno = error;
  return proc;
}

int copyProc(const Reporter& reporter, const PidPlan& pids) {
  switch (pids.kind) {
    case PidPlan::Kind::OWN:
    case PidPlan::Kind::HOST:
      return -1;
    case PidPlan::Kind::TARGET:
      return copyOfTargets(reporter, pids.joined);
    case PidPlan::Kind::POD:
      break;
  }
  int tree = sys::cloneTree(AT_FDCWD, POD_PROC, sys::Recursion::THIS_MOUNT);
  if (tree < 0) reporter.fail(STEP, POD_PROC, errno);
  return tree;
}

}  // namespace belay::shim
