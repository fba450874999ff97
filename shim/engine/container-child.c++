// The two children that make a container.
#include "shim/engine/container-child.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include "shim/engine/execution.h"
#include "shim/engine/kept-fds.h"
#include "shim/engine/process-setup.h"
#include "shim/engine/rootfs-devices.h"
#include "shim/engine/rootfs-masks.h"
#include "shim/engine/rootfs-overlay.h"
#include "shim/engine/rootfs-paths.h"
#include "shim/engine/seccomp-listener.h"
#include "shim/engine/shim-memory.h"
#include "shim/engine/syscall-filter.h"
#include "shim/engine/user-namespace.h"
#include "shim/sys/clone.h"
#include "shim/sys/mounts.h"

namespace belay::shim {
namespace {

class ContainerChild {
 public:
  ContainerChild(ContainerPlan& plan, int socket)
      : plan(plan),
        reporter(socket),
        ids(plan.namespaces.ids),
        sharesPids(plan.pids.isShared()),
        joinsPids(plan.pids.joined >= 0) {}

  [[noreturn]] void runStageA() {
    // The shim's descriptors first: a child that hangs below must not hold other containers' gates.
    closeForeignDescriptors();
    resetInherited(reporter);
    if (sharesPids) shimMemory.note(reporter);
    // The cgroup before everything that costs memory or may hang, so that it is charged and can be
    // killed; and before the cgroup namespace, whose root is where its maker is.
    joinCgroups(reporter, plan.joining.tasks);
    // The host's /proc is needed, and trusted: both come before the pivot.
    writeProcSettings(reporter, plan.spec.getProcess());
    leaveSessionKeyring(reporter);
    // Network before sysfs and IPC before mqueue, which show the namespaces of who mounts them.
    joinNamespaces();
    unshareMounts();
    plan.mounts.openSources(reporter);
    listenerConnection = connectToListener(reporter, plan.spec.getProcess());
    isolateMounts();

    makeFilesAsPod(reporter, ids);
    root = mountOverlay(reporter, plan.spec.getRootfs(), plan.namespaces.users());
    plan.mounts.attachEarly(reporter, root);
    makeDevices(reporter, root, plan.spec.getDevices());
    if (plan.mounts.hasOwnDev()) makeDeviceLinks(reporter, root);
    findUser(reporter, root, ids, plan.spec.getProcess().getUser(), user);
    plan.process.setHome(user.home);
    installStreams();
    makeWorkingDirectory();
    // Mount points are made: now the rootfs may become read-only.
    makeRootReadonly();
    pivot();
    // Nothing of the host's is open or mounted from here on.
    closeAllButLateMounts();
    if (ids.isOwn()) enterUserNamespaceWithMounts();
    // Stage B is born with privileges only where it is alone: where others are in the pid namespace
    // one of them that may trace could take it over.
    if (sharesPids) {
      finishRootfs();
      closeAllButReported();
      becomeContainersUser();
    }
    execution = takeExecution(reporter, plan.process);
    // The plan goes with it: stage B has what it needs in `execution`.
    if (sharesPids) {
      shimMemory.forget(reporter);
      loadSyscallFilterEarly(reporter, execution);
    }
    cloneStageB();
  }

 private:
  ContainerPlan& plan;
  Reporter reporter;
  const IdMapping ids;
  const bool sharesPids;
  const bool joinsPids;
  int root = -1;
  Terminal terminal = {-1, -1};
  int listenerConnection = -1;
  FoundUser user;
  Execution execution;
  ShimMemory shimMemory;

  [[noreturn]] void runStageB() {
    startSession(reporter, execution.terminal);
    if (!sharesPids) {
      finishRootfs();
      becomeContainersUser();
    }
    closeAllButStreams();
    // Last, so that the filter need not allow what comes before.
    loadSyscallFilter(reporter, execution);
    reportReady();
    reporter.waitAtGate();
    execute(reporter, execution);
  }

  void finishRootfs() {
    plan.mounts.attachLate(reporter);
    maskPaths(reporter, plan.spec.getMaskedPaths());
    makePathsReadonly(reporter, plan.spec.getReadonlyPaths());
  }

  void becomeContainersUser() {
    const char* cwd = workingDirectory();
    bool entered = enterDirectory(reporter, cwd);
    setResourceLimits(reporter, plan.spec.getProcess().getRlimits());
    becomeUser(reporter, plan.spec.getProcess(), user);
    if (!entered) enterDirectoryAsUser(reporter, cwd);
  }

  const char* workingDirectory() const {
    auto cwd = plan.spec.getProcess().getCwd();
    return cwd.size() > 0 ? cwd.cStr() : "/";
  }

  void closeForeignDescriptors() {
    KeptFds kept(reporter);
    // The shim's, to be replaced: until then nothing else may come to lie there.
    kept.addStandardStreams();
    for (auto& file : plan.joining.tasks)
      kept.add(file);
    kept.add(plan.namespaces.user);
    kept.add(plan.namespaces.net);
    kept.add(plan.namespaces.ipc);
    kept.add(plan.namespaces.uts);
    kept.add(plan.pids.joined);
    kept.add(plan.stdio.in);
    kept.add(plan.stdio.out);
    kept.add(plan.stdio.err);
    kept.add(plan.podDirFd);
    kept.closeOthers();
  }

  void joinNamespaces() {
    join(plan.namespaces.net, CLONE_NEWNET, "network");
    join(plan.namespaces.ipc, CLONE_NEWIPC, "IPC");
    join(plan.namespaces.uts, CLONE_NEWUTS, "UTS");
    // Of the pid namespace only children become members: stage B.
    join(plan.pids.joined, CLONE_NEWPID, "PID");
  }

  void join(int fd, int type, const char* name) {
    if (fd < 0 || setns(fd, type) == 0) return;
    if (errno == ESRCH) refuseDeadPids();
    reporter.fail("join the namespace", name, errno);
  }

  [[noreturn]] void refuseDeadPids() {
    reporter.refuse(Failure::Code::FAILED_PRECONDITION, "join the pid namespace", "",
                    "its first process has exited");
  }

  void unshareMounts() {
    // Any directory will do to mount the rootfs upon, as only this mount namespace will see it. The
    // kernel takes the working directory along to the copy of its mount.
    if (fchdir(plan.podDirFd) < 0) reporter.fail("open", "the pod's directory", errno);
    if (unshare(ids.isOwn() ? CLONE_NEWNS : CLONE_NEWNS | CLONE_NEWCGROUP) < 0) {
      reporter.fail("make", "a mount and a cgroup namespace", errno);
    }
  }

  // Mount and cgroup namespace belong to the pod's user namespace, so that its root may mount. What
  // is mounted by now came from outside and stays as it is: nobody in there takes it off or makes
  // it writable (mount_namespaces(7)).
  void enterUserNamespaceWithMounts() {
    enterUserNamespace(reporter, plan.namespaces.user);
    if (unshare(CLONE_NEWNS | CLONE_NEWCGROUP) < 0) {
      reporter.fail("make", "a mount and a cgroup namespace of the pod's", errno);
    }
  }

  void isolateMounts() {
    // Slave, not private: what the host unmounts must not live on here while this is under way.
    if (mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) < 0) {
      reporter.fail("isolate the mounts", "/", errno);
    }
  }

  void installStreams() {
    uid_t uid = ids.toHost(user.uid);
    if (plan.spec.getProcess().getTerminal()) {
      terminal = openTerminal(reporter, root);
      mountConsole(reporter, root, terminal.slave);
      installStdio(reporter, uid, terminal.slave, terminal.slave, terminal.slave);
    } else {
      installStdio(reporter, uid, plan.stdio.in, plan.stdio.out, plan.stdio.err);
    }
  }

  void makeWorkingDirectory() {
    const char* cwd = workingDirectory();
    if (cwd[0] != '/') {
      reporter.fail("change to the working directory", cwd, EINVAL, "the path is not absolute");
    }
    // What is below /proc comes only with stage B.
    if (isAtOrBelow(cwd, "/proc")) return;
    close(openOrMake(reporter, root, cwd, MountPointKind::DIRECTORY, Links::FOLLOW));
  }

  void makeRootReadonly() {
    if (plan.spec.getRootfs().getReadonly() &&
        sys::changeMount(root, MOUNT_ATTR_RDONLY, 0, 0, sys::Recursion::THIS_MOUNT) < 0) {
      reporter.fail("make the rootfs read-only", "/", errno);
    }
  }

  void pivot() {
    constexpr const char* STEP = "make the rootfs the root";
    if (fchdir(root) < 0) reporter.fail(STEP, "fchdir", errno);
    // The old root comes to lie upon the new one, where it is then taken off: pivot_root(2).
    if (sys::pivotRoot(".", ".") < 0) reporter.fail(STEP, "pivot_root", errno);
    if (umount2(".", MNT_DETACH) < 0) reporter.fail(STEP, "umount", errno);
    if (chdir("/") < 0) reporter.fail(STEP, "chdir", errno);
  }

  void closeAllButLateMounts() {
    KeptFds kept(reporter);
    kept.addStandardStreams();
    for (int tree : plan.mounts.lateTrees())
      kept.add(tree);
    kept.add(plan.namespaces.user);
    kept.add(terminal.master);
    kept.add(listenerConnection);
    kept.closeOthers();
  }

  // What reportMade will send.
  void closeAllButReported() {
    KeptFds kept(reporter);
    kept.addStandardStreams();
    kept.add(terminal.master);
    kept.add(listenerConnection);
    kept.closeOthers();
  }

  void closeAllButStreams() {
    KeptFds kept(reporter);
    kept.addStandardStreams();
    kept.closeOthers();
  }

  [[noreturn]] void cloneStageB() {
    sys::CloneOptions options;
    // A sibling: the shim's child, as this one is, which then goes.
    options.flags = CLONE_PARENT;
    if (!sharesPids) options.flags |= CLONE_NEWPID;
    int pidfd = -1;
    pid_t pid =
        execution.filterLoaded ? cloneFilteredSibling(pidfd) : sys::cloneProcess(options, pidfd);
    // What the kernel says of a pid namespace whose first process is gone (pid_namespaces(7)).
    if (pid < 0 && errno == ENOMEM && joinsPids) refuseDeadPids();
    if (pid < 0) reporter.fail("make the container's first process", "", errno);
    if (pid == 0) runStageB();

    reportMade(reporter, pid, pidfd, user, terminal.master, listenerConnection);
    _exit(0);
  }

  void reportReady() {
    Report report;
    report.kind = Report::Kind::READY;
    reporter.send(report);
  }
};

}  // namespace

void runContainerChild(ContainerPlan& plan, int reportSocket) {
  // On the stack: several KiB of which would otherwise be the shim's for good.
  ContainerChild child(plan, reportSocket);
  child.runStageA();
}

}  // namespace belay::shim
