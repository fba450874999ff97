// See child.h.
#include "snapshot/sys/child.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <linux/sched.h>
#include <poll.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "snapshot/failure.h"

namespace belay::snapshot {

namespace {

// What the child was doing when it could not go on.
enum class Step : int { CGROUP, SESSION, DEATH_SIGNAL, NICE, FOLDER, DESCRIPTORS, SIGNALS, EXEC };

const char* nameOf(Step step) {
  switch (step) {
    case Step::CGROUP:
      return "join its cgroup";
    case Step::SESSION:
      return "make its session or process group";
    case Step::DEATH_SIGNAL:
      return "ask for a signal at our death";
    case Step::NICE:
      return "set its priority";
    case Step::FOLDER:
      return "change to its working directory";
    case Step::DESCRIPTORS:
      return "arrange its descriptors";
    case Step::SIGNALS:
      return "reset its signals";
    case Step::EXEC:
      return "execute the program";
  }
  return "start";
}

// Smaller than PIPE_BUF, so it is written whole or not at all.
struct Report {
  Step step;
  int error;
};

// Everything the child needs, laid out before clone3: after it only system calls are allowed.
struct Plan {
  const Command& command;
  kj::Array<char*> argv;
  kj::Array<char*> env;
  kj::Array<int> moved;  // room for the descriptors' safe copies
  int firstFree;         // above every number the child is to have
  int report;
  pid_t parent;
};

kj::Array<char*> pointersTo(kj::ArrayPtr<const kj::String> strings) {
  auto result = kj::heapArray<char*>(strings.size() + 1);
  for (size_t i = 0; i < strings.size(); ++i)
    result[i] = const_cast<char*>(strings[i].cStr());
  result[strings.size()] = nullptr;
  return result;
}

[[noreturn]] void giveUp(int report, Step step) {
  Report message{step, errno};
  // The parent reads the exit code if even this fails.
  [[maybe_unused]] ssize_t ignored = write(report, &message, sizeof(message));
  _exit(127);
}

void joinCgroups(const Plan& plan, int report) {
  for (int tasks : plan.command.cgroupTasks) {
    if (write(tasks, "0", 1) != 1) giveUp(report, Step::CGROUP);
  }
}

void setAttributes(const Plan& plan, int report) {
  const Command& command = plan.command;
  switch (command.group) {
    case Command::Group::INHERIT:
      break;
    case Command::Group::PROCESS_GROUP:
      if (setpgid(0, 0) < 0) giveUp(report, Step::SESSION);
      break;
    case Command::Group::SESSION:
      if (setsid() < 0) giveUp(report, Step::SESSION);
      break;
  }
  if (command.deathSignal != 0) {
    if (prctl(PR_SET_PDEATHSIG, command.deathSignal) < 0) giveUp(report, Step::DEATH_SIGNAL);
    // The parent may have died before the request: then no signal ever comes.
    if (getppid() != plan.parent) _exit(127);
  }
  KJ_IF_MAYBE (nice, command.nice) {
    if (setpriority(PRIO_PROCESS, 0, *nice) < 0) giveUp(report, Step::NICE);
  }
  KJ_IF_MAYBE (folder, command.workingDirectory) {
    if (fchdir(*folder) < 0) giveUp(report, Step::FOLDER);
  }
}

// Lowering the value needs CAP_SYS_RESOURCE; a child that keeps ours is no worse than ours.
void setOomScore(const char* digits, size_t size) {
  int file = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (file < 0) return;
  [[maybe_unused]] ssize_t ignored = write(file, digits, size);
  close(file);
}

// Gives the child its numbers and closes all others. Sources are first copied above every target,
// so that no dup2 overwrites a source not yet used. Returns the report's new number.
int arrangeDescriptors(Plan& plan, int report) {
  const auto& wanted = plan.command.descriptors;
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0) giveUp(report, Step::DESCRIPTORS);
  int movedNull = fcntl(null, F_DUPFD_CLOEXEC, plan.firstFree);
  if (movedNull < 0) giveUp(report, Step::DESCRIPTORS);
  for (size_t i = 0; i < wanted.size(); ++i) {
    plan.moved[i] = fcntl(wanted[i].source, F_DUPFD_CLOEXEC, plan.firstFree);
    if (plan.moved[i] < 0) giveUp(report, Step::DESCRIPTORS);
  }
  for (int number = 0; number < plan.firstFree; ++number) {
    int source = number <= STDERR_FILENO ? movedNull : -1;
    for (size_t i = 0; i < wanted.size(); ++i) {
      if (wanted[i].number == number) source = plan.moved[i];
    }
    if (source < 0) {
      close(number);
    } else if (dup2(source, number) < 0) {
      giveUp(report, Step::DESCRIPTORS);
    }
  }
  // The report stays, for exec to close it, and nothing else: closed here and not by exec, all of
  // it is gone before the report's end tells so. Linux 5.9.
  if (report != plan.firstFree && dup3(report, plan.firstFree, O_CLOEXEC) < 0) {
    giveUp(report, Step::DESCRIPTORS);
  }
  report = plan.firstFree;
  if (syscall(SYS_close_range, plan.firstFree + 1, ~0U, 0) < 0) giveUp(report, Step::DESCRIPTORS);
  return report;
}

// An ignored signal stays ignored over exec, and a blocked one blocked. The raw call, because libc
// refuses to touch the two signals it keeps for itself, and those can be inherited as ignored too.
void resetSignals(int report) {
  struct {
    unsigned long handler, flags, restorer, mask;
  } byDefault = {};  // the kernel's struct sigaction; SIG_DFL is 0
  for (int number = 1; number < NSIG; ++number) {
    // Refused for SIGKILL and SIGSTOP, which cannot be ignored.
    syscall(SYS_rt_sigaction, number, &byDefault, nullptr, sizeof(byDefault.mask));
  }
  sigset_t none;
  sigemptyset(&none);
  if (sigprocmask(SIG_SETMASK, &none, nullptr) < 0) giveUp(report, Step::SIGNALS);
}

[[noreturn]] void runChild(Plan& plan, const char* oomDigits, size_t oomSize) {
  int report = fcntl(plan.report, F_DUPFD_CLOEXEC, plan.firstFree);
  if (report < 0) _exit(127);
  joinCgroups(plan, report);  // first, so that all else is charged there
  setAttributes(plan, report);
  if (oomSize > 0) setOomScore(oomDigits, oomSize);
  report = arrangeDescriptors(plan, report);
  resetSignals(report);
  execve(plan.command.path.cStr(), plan.argv.begin(), plan.env.begin());
  giveUp(report, Step::EXEC);
}

int firstFreeNumber(const Command& command) {
  int result = STDERR_FILENO + 1;
  for (const auto& descriptor : command.descriptors) {
    KJ_REQUIRE(descriptor.number >= 0 && descriptor.source >= 0, "no descriptor", command.path);
    result = kj::max(result, descriptor.number + 1);
  }
  return result;
}

// Whether a read would not block.
bool hasEvent(int fd) {
  struct pollfd request{fd, POLLIN, 0};
  int count;
  KJ_SYSCALL(count = poll(&request, 1, 0));
  return count > 0;
}

ExitStatus statusOf(const siginfo_t& info) {
  ExitStatus status;
  if (info.si_code == CLD_EXITED) {
    status.exitCode = info.si_status;
  } else {
    status.signal = info.si_status;
  }
  return status;
}

}  // namespace

kj::String ExitStatus::describe() const {
  if (signal == 0) return kj::str("exit code ", exitCode);
  const char* text = sigdescr_np(signal);
  return kj::str("signal ", signal, " (", text == nullptr ? "unknown" : text, ")");
}

// What outlives the Child object until the process is reaped.
struct Child::State {
  pid_t pid;
  kj::AutoCloseFd pidfd;
  kj::AutoCloseFd report;  // read end; a Report in it says that exec never happened
  kj::String path;
  enum class Phase { RUNNING, REAPED, LOST } phase = Phase::RUNNING;
  ExitStatus status;

  // Takes the exit status if there is one; false while the process lives.
  bool reap() {
    if (phase != Phase::RUNNING) return true;
    siginfo_t info;
    memset(&info, 0, sizeof(info));
    if (waitid(P_PIDFD, pidfd.get(), &info, WEXITED | WNOHANG) < 0) {
      // ECHILD: somebody else in this process called wait for it.
      phase = Phase::LOST;
      return true;
    }
    if (info.si_pid == 0) return false;
    status = statusOf(info);
    phase = Phase::REAPED;
    return true;
  }

  // The status, or why there is none.
  ExitStatus result() {
    Report message;
    if (read(report, &message, sizeof(message)) == sizeof(message)) {
      fail(Code::INTERNAL, "cannot start ", path, ": it could not ", nameOf(message.step), ": ",
           strerror(message.error));
    }
    KJ_REQUIRE(phase != Phase::LOST, "a child's exit status was taken by another waitid()", path);
    return status;
  }
};

Child::Child(Children& children, kj::Own<State> stateParam, OnDrop onDrop)
    : children(children),
      onDrop(onDrop),
      state(kj::mv(stateParam)),
      id(state->pid),
      handle(state->pidfd),
      exit(children.waitFor(*state).fork()) {}

Child::~Child() noexcept(false) {
  if (state->phase == State::Phase::RUNNING && onDrop != OnDrop::LEAVE) {
    // The number names this group for as long as its leader is not reaped.
    if (onDrop == OnDrop::KILL_GROUP) kill(-id, SIGKILL);
    // And by its handle, in case it has not made its group yet. It cannot fail for a child of ours.
    syscall(SYS_pidfd_send_signal, handle, SIGKILL, nullptr, 0);
  }
  children.dropped.add(exit.addBranch().ignoreResult().attach(kj::mv(state)));
}

bool Child::signal(int number) {
  if (syscall(SYS_pidfd_send_signal, handle, number, nullptr, 0) == 0) return true;
  int error = errno;
  if (error == ESRCH) return false;
  KJ_FAIL_SYSCALL("pidfd_send_signal", error, number);
}

Children::Children(kj::UnixEventPort& port) : port(port), dropped(*this) {}
Children::~Children() noexcept(false) = default;

kj::Own<Child> Children::spawn(const Command& command, Child::OnDrop onDrop) {
  if (abandoned) fail(Code::UNAVAILABLE, "belayd is being replaced: ask again");
  int ends[2];
  KJ_SYSCALL(pipe2(ends, O_CLOEXEC | O_NONBLOCK));
  kj::AutoCloseFd readEnd(ends[0]);
  kj::AutoCloseFd writeEnd(ends[1]);
  Plan plan{.command = command,
            .argv = pointersTo(command.argv),
            .env = pointersTo(command.env),
            .moved = kj::heapArray<int>(command.descriptors.size()),
            .firstFree = firstFreeNumber(command),
            .report = writeEnd,
            .parent = getpid()};
  kj::String oomDigits;
  KJ_IF_MAYBE (value, command.oomScoreAdj) {
    oomDigits = kj::str(*value);
  }

  int pidfd = -1;
  struct clone_args arguments;
  memset(&arguments, 0, sizeof(arguments));
  arguments.flags = CLONE_PIDFD;
  arguments.pidfd = reinterpret_cast<uintptr_t>(&pidfd);
  arguments.exit_signal = SIGCHLD;
  KJ_IF_MAYBE (folder, command.cgroupFolder) {
    arguments.flags |= CLONE_INTO_CGROUP;
    arguments.cgroup = *folder;
  }

  // No handler of ours may run in the child before it has reset them.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  KJ_SYSCALL(sigprocmask(SIG_SETMASK, &all, &before));
  // Plain fork semantics, no shared memory: a program on a hung disk stops the child alone.
  long pid = syscall(SYS_clone3, &arguments, sizeof(arguments));
  if (pid == 0) runChild(plan, oomDigits.begin(), oomDigits.size());
  int error = errno;
  KJ_SYSCALL(sigprocmask(SIG_SETMASK, &before, nullptr));
  if (pid < 0) {
    Code code = error == EAGAIN || error == ENOMEM ? Code::RESOURCE_EXHAUSTED : Code::INTERNAL;
    fail(code, "cannot start ", command.path, ": clone3: ", strerror(error));
  }

  auto state = kj::heap<Child::State>(Child::State{.pid = static_cast<pid_t>(pid),
                                                   .pidfd = kj::AutoCloseFd(pidfd),
                                                   .report = kj::mv(readEnd),
                                                   .path = kj::heapString(command.path)});
  unreaped.upsert(state->pid, state.get());
  return kj::Own<Child>(new Child(*this, kj::mv(state), onDrop),
                        kj::_::HeapDisposer<Child>::instance);
}

kj::Promise<ExitStatus> Children::waitFor(Child::State& state) {
  // A pidfd stays readable once its process has exited, whoever reaps it.
  kj::UnixEventPort::FdObserver observer(port, state.pidfd,
                                         kj::UnixEventPort::FdObserver::OBSERVE_READ);
  while (!state.reap())
    co_await waits.wrap(observer.whenBecomesReadable());
  unreaped.erase(state.pid);
  co_return state.result();
}

kj::Promise<void> Children::reapOrphans(kj::Function<void(pid_t, ExitStatus)> onOrphan) {
  for (;;) {
    // Asked for before the look, so that no exit falls between them.
    auto next = port.onSignal(SIGCHLD);
    reapReady(onOrphan);
    co_await next;
  }
}

void Children::reapReady(kj::Function<void(pid_t, ExitStatus)>& onOrphan) {
  for (;;) {
    siginfo_t info;
    memset(&info, 0, sizeof(info));
    // Looked at first: a child of spawn() is reaped through its own state.
    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0) return;
    pid_t pid = info.si_pid;
    KJ_IF_MAYBE (state, unreaped.find(pid)) {
      (*state)->reap();
      unreaped.erase(pid);
      continue;
    }
    if (waitid(P_PID, pid, &info, WEXITED | WNOHANG) < 0) return;
    onOrphan(pid, statusOf(info));
  }
}

kj::Promise<void> Children::whenAllStarted() {
  // Duplicates, since a child may be reaped and forgotten meanwhile.
  kj::Vector<kj::AutoCloseFd> reports;
  for (auto& entry : unreaped) {
    int copy;
    KJ_SYSCALL(copy = fcntl(entry.value->report, F_DUPFD_CLOEXEC, 0));
    reports.add(kj::AutoCloseFd(copy));
  }
  for (auto& report : reports) {
    // exec closes the other end; so does death. A report written before that is an end as well.
    kj::UnixEventPort::FdObserver observer(port, report,
                                           kj::UnixEventPort::FdObserver::OBSERVE_READ);
    while (!hasEvent(report))
      co_await observer.whenBecomesReadable();
  }
}

void Children::abandon() {
  abandoned = true;
  waits.cancel(failure(Code::UNAVAILABLE, "belayd is being replaced: ask again"));
}

kj::Promise<void> Children::whenDroppedAreReaped() {
  return dropped.onEmpty();
}

void Children::taskFailed(kj::Exception&& exception) {
  // A dropped child that could not be started: whoever dropped it did not want to know.
}

}  // namespace belay::snapshot
