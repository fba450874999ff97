// The two children that bring a process into a running container.
#include "shim/engine/enter-child.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include "shim/engine/execution.h"
#include "shim/engine/kept-fds.h"
#include "shim/engine/process-setup.h"
#include "shim/engine/report.h"
#include "shim/engine/rootfs-devices.h"
#include "shim/engine/seccomp-listener.h"
#include "shim/engine/shim-memory.h"
#include "shim/engine/syscall-filter.h"
#include "shim/engine/user-namespace.h"
#include "shim/sys/clone.h"

namespace belay::shim {
namespace {

class EnterChild {
 public:
  EnterChild(EnterPlan& plan, int socket)
      : plan(plan), process(plan.process.spec), reporter(socket) {}

  [[noreturn]] void runStageA() {
    // The shim's descriptors first: a child that hangs below must not hold other containers' gates.
    closeForeignDescriptors();
    resetInherited(reporter);
    shimMemory.note(reporter);
    // The cgroup first: whatever hangs or eats below is in it.
    joinCgroups(reporter, plan.joining.tasks);
    // While the host's /proc, which is the one to trust, is still there.
    writeProcSettings(reporter, process);
    leaveSessionKeyring(reporter);
    listenerConnection = connectToListener(reporter, process);
    joinContainer();
    // The root is the container's now; from here on every path is a stranger's.
    int root = openRoot();
    findUser(reporter, root, plan.target.ids, process.getUser(), user);
    plan.process.setHome(user.home);
    installStreams(root);
    if (plan.target.ids.isOwn()) enterUserNamespace(reporter, plan.target.pidfd);
    closeAllButReported();
    const char* cwd = process.getCwd().size() > 0 ? process.getCwd().cStr() : "/";
    bool entered = enterDirectory(reporter, cwd);
    setResourceLimits(reporter, process.getRlimits());
    // Still outside of the container's pid namespace, where no process of it can trace this one:
    // stage B is born with no more than it may keep.
    becomeUser(reporter, process, user);
    if (!entered) enterDirectoryAsUser(reporter, cwd);
    execution = takeExecution(reporter, plan.process);
    // The plan goes with it: stage B has what it needs in `execution`.
    shimMemory.forget(reporter);
    loadSyscallFilterEarly(reporter, execution);
    cloneStageB();
  }

 private:
  EnterPlan& plan;
  ProcessSpec::Reader process;
  Reporter reporter;
  Terminal terminal = {-1, -1};
  int listenerConnection = -1;
  FoundUser user;
  Execution execution;
  ShimMemory shimMemory;

  [[noreturn]] void runStageB() {
    if (terminal.master >= 0) close(terminal.master);
    if (listenerConnection >= 0) close(listenerConnection);
    startSession(reporter, execution.terminal);
    loadSyscallFilter(reporter, execution);
    execute(reporter, execution);
  }

  void closeForeignDescriptors() {
    KeptFds kept(reporter);
    // The shim's, to be replaced: until then nothing else may come to lie there.
    kept.addStandardStreams();
    for (auto& file : plan.joining.tasks)
      kept.add(file);
    kept.add(plan.stdio.in);
    kept.add(plan.stdio.out);
    kept.add(plan.stdio.err);
    kept.add(plan.target.pidfd);
    kept.closeOthers();
  }

  void joinContainer() {
    // All at once, by the handle of the first process. Of the pid namespace only children become
    // members; the user namespace is for later, when streams were given to their user.
    constexpr int ALL =
        CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
    if (setns(plan.target.pidfd, ALL) == 0) return;
    if (errno == ESRCH) {
      reporter.refuse(Failure::Code::FAILED_PRECONDITION, "enter the container", "",
                      "its first process has exited");
    }
    reporter.fail("enter the container", "", errno);
  }

  int openRoot() {
    int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0) reporter.fail("open", "/", errno);
    return root;
  }

  void installStreams(int root) {
    uid_t uid = plan.target.ids.toHost(user.uid);
    if (process.getTerminal()) {
      terminal = openTerminal(reporter, root);
      if (!plan.stdio.size.isUnknown()) setTerminalSize(terminal.master, plan.stdio.size);
      installStdio(reporter, uid, terminal.slave, terminal.slave, terminal.slave);
    } else {
      installStdio(reporter, uid, plan.stdio.in, plan.stdio.out, plan.stdio.err);
    }
  }

  // What reportMade will send, besides.
  void closeAllButReported() {
    KeptFds kept(reporter);
    kept.addStandardStreams();
    kept.add(terminal.master);
    kept.add(listenerConnection);
    kept.closeOthers();
  }

  [[noreturn]] void cloneStageB() {
    int pidfd = -1;
    // A sibling: the shim's child, as this one is, which then goes.
    pid_t pid = execution.filterLoaded ? cloneFilteredSibling(pidfd)
                                       : sys::cloneProcess({.flags = CLONE_PARENT}, pidfd);
    if (pid < 0) reporter.fail("make the process", "", errno);
    if (pid == 0) runStageB();

    reportMade(reporter, pid, pidfd, user, terminal.master, listenerConnection);
    _exit(0);
  }
};

}  // namespace

void runEnterChild(EnterPlan& plan, int reportSocket) {
  EnterChild child(plan, reportSocket);
  child.runStageA();
}

}  // namespace belay::shim
