// The pod's namespaces.
#include "shim/engine/namespaces.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim/engine/cgroup.h"
#include "shim/engine/namespaces-child.h"
#include "shim/engine/pod-init.h"
#include "shim/engine/report.h"
#include "shim/engine/rootfs-proc.h"
#include "shim/sys/clone.h"
#include "shim/sys/mounts.h"

namespace belay::shim {
namespace {

constexpr kj::StringPtr STEP = "make the pod's namespaces"_kj;
// The cgroup of the shared pid namespace's first process, below the pod's: attempts of one pod
// share the latter, and each has a first process.
kj::String initCgroupName(PodSpec::Reader spec) {
  return kj::str("init-", spec.getId());
}

// One namespace of a pod: which kind, and where it is pinned.
struct Pin {
  kj::StringPtr kind;
  // Its name below /proc/PID/ns.
  int type;
  int directory;
  kj::String path;
};

// The namespaces that the pod has of its own. All is copied: the spec may go.
kj::Vector<Pin> pinsOf(const EngineContext& context, PodSpec::Reader spec) {
  kj::Vector<Pin> pins;
  if (IdMapping(spec.getIds()).isOwn()) {
    pins.add(Pin{"user", CLONE_NEWUSER, context.podDirFd, kj::str("ns/user")});
  }
  if (spec.getNetwork() != NamespaceMode::NODE) {
    KJ_REQUIRE(spec.getNetnsPath().startsWith("/"), "The network namespace has no path.",
               spec.getNetnsPath());
    pins.add(Pin{"net", CLONE_NEWNET, AT_FDCWD, kj::str(spec.getNetnsPath())});
  }
  if (spec.getIpc() != NamespaceMode::NODE) {
    pins.add(Pin{"ipc", CLONE_NEWIPC, context.podDirFd, kj::str("ns/ipc")});
  }
  if (spec.getHostname().size() > 0) {
    pins.add(Pin{"uts", CLONE_NEWUTS, context.podDirFd, kj::str("ns/uts")});
  }
  if (spec.getPid() == NamespaceMode::POD) {
    pins.add(Pin{"pid", CLONE_NEWPID, context.podDirFd, kj::str("ns/pid")});
  }
  return pins;
}

// Of the shared pid namespace's first process; empty without one.
kj::String initCgroupPath(PodSpec::Reader spec) {
  if (spec.getPid() != NamespaceMode::POD) return kj::String();
  return kj::str(spec.getCgroupPath(), "/", initCgroupName(spec));
}

void makeDirectory(int directory, kj::StringPtr path, mode_t mode) {
  KJ_SYSCALL_HANDLE_ERRORS(mkdirat(directory, path.cStr(), mode)) {
    case EEXIST:
      break;
    default:
      KJ_FAIL_SYSCALL("mkdir", error, path);
  }
}

kj::AutoCloseFd openNamespace(int directory, kj::StringPtr path, int type) {
  int fd;
  KJ_SYSCALL(fd = openat(directory, path.cStr(), O_RDONLY | O_CLOEXEC), path);
  kj::AutoCloseFd result(fd);
  int actual = ioctl(fd, NS_GET_NSTYPE);
  KJ_REQUIRE(actual == type, "The file is no namespace of the right kind.", path);
  return result;
}

// Mounts the namespace file of the living process upon a file, so that the namespace outlives every
// process. A plain directory with files to mount upon is enough: where the mount above it is
// shared, as systemd's are, other mount namespaces see the pin by that; `ip netns` makes its
// directory a shared mount for machines where it is not, which a runtime in the host's namespace
// need not.
void pinNamespace(const Pin& pin, pid_t pid) {
  int fd;
  KJ_SYSCALL(
      fd = openat(pin.directory, pin.path.cStr(), O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444),
      pin.path);
  kj::AutoCloseFd place(fd);
  auto source = kj::str("/proc/", pid, "/ns/", pin.kind);
  KJ_SYSCALL(fd = sys::cloneTree(AT_FDCWD, source.cStr(), sys::Recursion::THIS_MOUNT), source);
  kj::AutoCloseFd tree(fd);
  KJ_SYSCALL(sys::attach(tree, place), pin.path);
}

// umount2 knows paths only; the descriptor's own name spares the pod's directory to be named.
kj::String nameBelow(int directory, kj::StringPtr path) {
  return directory == AT_FDCWD ? kj::str(path) : kj::str("/proc/self/fd/", directory, "/", path);
}

// First off here, then the name away: unlinking detaches the mount in every other mount namespace
// that got a copy of it, which umount does not.
void removeMountPoint(int directory, kj::StringPtr path, int unlinkFlags) {
  KJ_SYSCALL_HANDLE_ERRORS(
      umount2(nameBelow(directory, path).cStr(), MNT_DETACH | UMOUNT_NOFOLLOW)) {
    case ENOENT:
      return;
    case EINVAL:
      break;  // Nothing is mounted there.
    default:
      KJ_FAIL_SYSCALL("umount", error, path);
  }
  KJ_SYSCALL_HANDLE_ERRORS(unlinkat(directory, path.cStr(), unlinkFlags)) {
    case ENOENT:
      break;
    default:
      KJ_FAIL_SYSCALL("unlink", error, path);
  }
}

void unpinAll(const EngineContext& context, kj::ArrayPtr<const Pin> pins) {
  for (auto& pin : pins)
    removeMountPoint(pin.directory, pin.path, 0);
  removeMountPoint(context.podDirFd, "shm", AT_REMOVEDIR);
  removeMountPoint(context.podDirFd, POD_PROC, AT_REMOVEDIR);
  unlinkat(context.podDirFd, "ns", AT_REMOVEDIR);
}

// Attaches a detached mount to a new folder of the pod's directory.
void mountInPodDirectory(const EngineContext& context, kj::AutoCloseFd tree, kj::StringPtr name) {
  makeDirectory(context.podDirFd, name, 0700);
  int fd;
  KJ_SYSCALL(
      fd = openat(context.podDirFd, name.cStr(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC),
      name);
  kj::AutoCloseFd place(fd);
  KJ_SYSCALL(sys::attach(tree, place), name);
}

// The pod's /dev/shm: one tmpfs for all its containers, as POSIX shared memory belongs to the IPC
// namespace.
void mountShm(const EngineContext& context, uint64_t bytes, IdMapping ids) {
  auto size = kj::str(bytes);
  auto owner = kj::str(ids.toHost(0));
  sys::MountOption options[] = {
      {"mode", "1777"}, {"uid", owner.cStr()}, {"gid", owner.cStr()}, {"size", size.cStr()}};
  int fd;
  KJ_SYSCALL(fd = sys::newMount("tmpfs", options, bytes > 0 ? 4 : 3,
                                MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC),
             "the pod's /dev/shm", bytes);
  mountInPodDirectory(context, kj::AutoCloseFd(fd), "shm");
}

void open(const Pin& pin, PodNamespaces& namespaces) {
  auto& place = pin.type == CLONE_NEWUSER  ? namespaces.user
                : pin.type == CLONE_NEWNET ? namespaces.net
                : pin.type == CLONE_NEWIPC ? namespaces.ipc
                : pin.type == CLONE_NEWUTS ? namespaces.uts
                                           : namespaces.pid;
  place = openNamespace(pin.directory, pin.path, pin.type);
}

kj::String parentOf(kj::StringPtr path) {
  return kj::heapString(path.slice(0, KJ_ASSERT_NONNULL(path.findLast('/'))));
}

bool isPid(const Pin& pin) {
  return pin.type == CLONE_NEWPID;
}

FailureValue cannotClone(int error) {
  bool limited = error == ENOSPC || error == EUSERS;
  return systemFailure(STEP, "", error,
                       limited ? "see the limits below /proc/sys/user/"_kj : nullptr);
}

// All but the pid namespace are born with a helper, which this starts, waits for, and lets go once
// they are pinned. `spec` is read before the first suspension only.
kj::Promise<kj::Maybe<FailureValue>> makeByHelper(EngineContext& context, PodSpec::Reader spec,
                                                  kj::ArrayPtr<const Pin> pins) {
  sys::CloneOptions options;
  for (auto& pin : pins)
    options.flags |= isPid(pin) ? 0 : pin.type;
  if (options.flags == 0) co_return nullptr;

  auto sockets = newReportSockets();
  int pidfd = -1;
  pid_t pid = sys::cloneProcess(options, pidfd);
  if (pid < 0) co_return cannotClone(errno);
  if (pid == 0) runNamespacesChild(spec, options.flags & CLONE_NEWNET, sockets.theirs);
  KilledOnDrop helper;
  helper.pidfd = kj::AutoCloseFd(pidfd);
  sockets.theirs = nullptr;
  if (options.flags & CLONE_NEWUSER) {
    int error = writeIdMaps(pid, IdMapping(spec.getIds()));
    if (error != 0) co_return systemFailure("map the ids of the pod's user namespace", "", error);
    openGate(sockets.ours);
  }

  ReportReceiver receiver(context.eventPort, sockets.ours);
  auto next = co_await receiver.next();
  if (next.is<ReportReceiver::End>()) {
    co_return plainFailure(Failure::Code::INTERNAL, STEP, "",
                           "the process that makes them was killed");
  }
  auto& report = next.get<kj::Own<ReportReceiver::Message>>()->report;
  if (report.kind == Report::Kind::FAILED) co_return failureOf(report);
  for (auto& pin : pins) {
    if (pin.type == CLONE_NEWNET) makeDirectory(AT_FDCWD, parentOf(pin.path), 0755);
    if (!isPid(pin)) pinNamespace(pin, pid);
  }
  // The helper leaves by itself once our end of its socket is closed.
  helper.pidfd = nullptr;
  co_return nullptr;
}

// The shared pid namespace is born with its first process.
kj::Promise<kj::Maybe<FailureValue>> makePidNamespace(EngineContext& context, const Pin& pin,
                                                      PodNamespaces& namespaces,
                                                      kj::String podCgroup, kj::String initCgroup) {
  // Of its own only where it is killed: with limits it has nothing to do, and every directory of a
  // v1 hierarchy costs a millisecond to remove.
  auto cgroup = Cgroup::open(context.cgroups, podCgroup)->createChild(initCgroup);
  bool complete = false;
  KJ_DEFER({
    if (!complete) cgroup->kill();
  });
  auto made = co_await startPodInit(context, namespaces, *cgroup);
  KJ_IF_MAYBE (failure, made.tryGet<FailureValue>()) {
    complete = true;
    co_await removePodInit(context, kj::mv(cgroup));
    co_return kj::mv(*failure);
  }
  mountInPodDirectory(context, kj::mv(made.get<PodInit>().proc), POD_PROC);
  pinNamespace(pin, made.get<PodInit>().pid);
  namespaces.pid = openNamespace(pin.directory, pin.path, pin.type);
  complete = true;
  co_return nullptr;
}

}  // namespace

kj::Promise<kj::OneOf<PodNamespaces, FailureValue>> makePodNamespaces(EngineContext& context,
                                                                      PodSpec::Reader spec) {
  switch (spec.getPid()) {
    case NamespaceMode::POD:
    case NamespaceMode::CONTAINER:
    case NamespaceMode::NODE:
      break;
    case NamespaceMode::TARGET:
    default:
      co_return plainFailure(Failure::Code::INVALID_ARGUMENT, STEP, "",
                             "the pid mode of a pod is pod, container or node");
  }
  auto pins = pinsOf(context, spec);
  auto podCgroup = kj::str(spec.getCgroupPath());
  auto initCgroup = initCgroupName(spec);
  bool hostPids = spec.getPid() == NamespaceMode::NODE;
  IdMapping ids(spec.getIds());
  bool complete = false;
  KJ_DEFER({
    if (!complete) unpinAll(context, pins);
  });
  makeDirectory(context.podDirFd, "ns", 0700);
  if (spec.getIpc() != NamespaceMode::NODE) {
    mountShm(context, spec.getShmBytes(), IdMapping(spec.getIds()));
  }
  auto failure = co_await makeByHelper(context, spec, pins);
  KJ_IF_MAYBE (f, failure) co_return kj::mv(*f);

  PodNamespaces namespaces;
  namespaces.pidIsHosts = hostPids;
  namespaces.ids = ids;
  for (auto& pin : pins) {
    if (!isPid(pin)) open(pin, namespaces);
  }
  for (auto& pin : pins) {
    // In the pod's other namespaces, which are open by now.
    if (isPid(pin))
      failure = co_await makePidNamespace(context, pin, namespaces, kj::mv(podCgroup),
                                          kj::mv(initCgroup));
  }
  KJ_IF_MAYBE (f, failure) co_return kj::mv(*f);
  complete = true;
  co_return kj::mv(namespaces);
}

PodNamespaces openPodNamespaces(EngineContext& context, PodSpec::Reader spec) {
  PodNamespaces namespaces;
  namespaces.pidIsHosts = spec.getPid() == NamespaceMode::NODE;
  namespaces.ids = IdMapping(spec.getIds());
  for (auto& pin : pinsOf(context, spec))
    open(pin, namespaces);
  return namespaces;
}

kj::Promise<void> removePodNamespaces(EngineContext& context, PodSpec::Reader spec) {
  unpinAll(context, pinsOf(context, spec));
  auto initCgroup = initCgroupPath(spec);
  if (initCgroup.size() == 0) co_return;
  co_await removePodInit(context, Cgroup::open(context.cgroups, initCgroup));
}

}  // namespace belay::shim
