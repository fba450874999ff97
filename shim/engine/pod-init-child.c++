// The two children that make the pod's first process.
#include "shim/engine/pod-init-child.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/engine/kept-fds.h"
#include "shim/engine/process-setup.h"
#include "shim/engine/rootfs-proc.h"
#include "shim/engine/user-namespace.h"
#include "shim/sys/clone.h"
#include "shim/sys/mounts.h"
#include "shim/sys/privileges.h"

namespace belay::shim {
namespace {

constexpr const char* STEP = "make the pod's first process";

// Nobody, who owns nothing.
constexpr uid_t NOBODY = 65534;

// Dies after everything else of the pod, as the pause process of other runtimes.
constexpr int OOM_SCORE_ADJ = -998;

#if defined(__x86_64__)
constexpr uint32_t ARCHITECTURE = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr uint32_t ARCHITECTURE = AUDIT_ARCH_AARCH64;
#endif

// What the program does, and the execveat that starts it.
constexpr struct sock_filter FILTER[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 0, 5),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigprocmask, 4, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_wait4, 3, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigtimedwait, 2, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_execveat, 1, 0),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};

class PodInitChild {
 public:
  PodInitChild(PodInitPlan& plan, int socket)
      : plan(plan), reporter(socket), ids(plan.namespaces.ids) {}

  [[noreturn]] void runStageA() {
    closeForeignDescriptors();
    resetInherited(reporter);
    joinCgroups(reporter, plan.joining.tasks);
    writeOomScore(reporter, OOM_SCORE_ADJ);
    leaveSessionKeyring(reporter);
    joinNamespaces();
    if (ids.isOwn()) hostsProc = copyHostsProc(reporter);
    moveToEmptyRoot();
    keepProgramAndHandles();
    if (ids.isOwn()) enterUserNamespaceWithMounts();
    cloneStageB();
  }

 private:
  PodInitPlan& plan;
  Reporter reporter;
  const IdMapping ids;
  int hostsProc = -1;

  [[noreturn]] void runStageB() {
    startSession(reporter, false);
    sendProc();
    becomeNobody();
    char name[] = "pod-init";
    char* const argv[] = {name, nullptr};
    char* const envp[] = {nullptr};
    // By the system call: the filter allows no other than this one's.
    loadFilterOrFail();
    syscall(SYS_execveat, plan.program, "", argv, envp, AT_EMPTY_PATH);
    _exit(Reporter::EXIT_SETUP_FAILED);
  }

  void closeForeignDescriptors() {
    KeptFds kept(reporter);
    for (auto& file : plan.joining.tasks)
      kept.add(file);
    kept.add(plan.namespaces.user);
    kept.add(plan.namespaces.net);
    kept.add(plan.namespaces.ipc);
    kept.add(plan.namespaces.uts);
    kept.add(plan.podDirFd);
    kept.add(plan.program);
    kept.closeOthers();
  }

  void joinNamespaces() {
    for (int fd :
         {plan.namespaces.net.get(), plan.namespaces.ipc.get(), plan.namespaces.uts.get()}) {
      if (fd >= 0 && setns(fd, 0) < 0) reporter.fail(STEP, "join a namespace", errno);
    }
  }

  void moveToEmptyRoot() {
    if (fchdir(plan.podDirFd) < 0 || unshare(CLONE_NEWNS | CLONE_NEWCGROUP) < 0 ||
        mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) < 0) {
      reporter.fail(STEP, "leave the host's mounts", errno);
    }
    constexpr sys::MountOption OPTIONS[] = {{"size", "4k"}, {"nr_inodes", "1"}, {"mode", "0555"}};
    int root =
        sys::newMount("tmpfs", OPTIONS, 3,
                      MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    if (root < 0 || move_mount(root, "", AT_FDCWD, ".", MOVE_MOUNT_F_EMPTY_PATH) < 0 ||
        fchdir(root) < 0 || sys::pivotRoot(".", ".") < 0 || umount2(".", MNT_DETACH) < 0 ||
        chdir("/") < 0) {
      reporter.fail(STEP, "an empty root", errno);
    }
  }

  void keepProgramAndHandles() {
    KeptFds kept(reporter);
    kept.add(plan.program);
    kept.add(plan.namespaces.user);
    kept.add(hostsProc);
    kept.closeOthers();
  }

  // So that the pid namespace is the pod's, too.
  void enterUserNamespaceWithMounts() {
    enterUserNamespace(reporter, plan.namespaces.user);
    if (unshare(CLONE_NEWNS | CLONE_NEWCGROUP) < 0) {
      reporter.fail(STEP, "a mount and a cgroup namespace", errno);
    }
    close(plan.namespaces.user);
  }

  // procfs shows the pid namespace of who mounts it. Here nobody else is in it yet.
  void sendProc() {
    int proc =
        newProc(reporter, hostsProc, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    if (proc < 0) reporter.fail(STEP, "mount /proc", errno);
    Report report;
    report.kind = Report::Kind::READY;
    reporter.send(report, kj::arrayPtr(&proc, 1));
    close(proc);
  }

  void becomeNobody() {
    // The last one of a small user namespace is as good.
    const uint32_t nobody = ids.has(NOBODY) ? NOBODY : ids.count - 1;
    if (sys::limitBoundingSet(0) < 0 || syscall(SYS_setgroups, size_t(1), &nobody) < 0 ||
        setresgid(nobody, nobody, nobody) < 0 || setresuid(nobody, nobody, nobody) < 0 ||
        sys::setCapabilities(0, 0, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
      reporter.fail(STEP, "give up privileges", errno);
    }
  }

  void loadFilterOrFail() {
    if (sys::loadFilter(FILTER, sizeof(FILTER), 0) < 0) {
      reporter.fail(STEP, "load the seccomp filter", errno);
    }
  }

  [[noreturn]] void cloneStageB() {
    int pidfd = -1;
    pid_t pid = sys::cloneProcess({.flags = CLONE_PARENT | CLONE_NEWPID}, pidfd);
    if (pid < 0) reporter.fail(STEP, "", errno);
    if (pid == 0) runStageB();
    reportMade(reporter, pid, pidfd, FoundUser(), -1, -1);
    _exit(0);
  }
};

}  // namespace

void runPodInitChild(PodInitPlan& plan, int reportSocket) {
  PodInitChild child(plan, reportSocket);
  child.runStageA();
}

}  // namespace belay::shim
