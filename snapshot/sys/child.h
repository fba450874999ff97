// Child processes of belayd: belay-pull, CNI plug-ins, shims. A child is started with exactly the
// descriptors it is given, waited for by its pidfd, and never blocks the event loop.
#pragma once

#include <kj/async-unix.h>
#include <kj/async.h>
#include <kj/function.h>
#include <kj/io.h>
#include <kj/map.h>
#include <kj/string.h>
#include <signal.h>
#include <sys/types.h>

namespace belay::snapshot {

// How a process ended.
struct ExitStatus {
  int exitCode = 0;  // meaningful when signal is 0
  int signal = 0;    // that killed it, or 0

  bool success() const { return signal == 0 && exitCode == 0; }
  // "exit code 3" or "signal 9 (Killed)".
  kj::String describe() const;
};

// What to start. The descriptors are borrowed: they must stay open until spawn() returns, and may
// be closed by the caller right after it.
struct Command {
  // One descriptor of the child: `source` of ours becomes `number` there.
  struct Descriptor {
    int number;
    int source;
  };

  enum class Group {
    INHERIT,  // stays in belayd's process group
    PROCESS_GROUP,
    SESSION,  // setsid(): also no controlling terminal
  };

  kj::String path;             // of the program; no PATH is searched
  kj::Array<kj::String> argv;  // with argv[0]
  kj::Array<kj::String> env;   // the whole environment, "NAME=value" each

  // All that the child has besides: 0, 1 and 2 are /dev/null unless named here; every other
  // descriptor of belayd's is closed before exec.
  kj::Vector<Descriptor> descriptors;

  // Files named `tasks` of cgroup v1 folders, open for writing: the child joins each by writing 0
  // (which costs far less than moving it through cgroup.procs from outside).
  kj::Vector<int> cgroupTasks;
  kj::Maybe<int> cgroupFolder;  // cgroup v2 folder: clone3(CLONE_INTO_CGROUP), Linux 5.7

  kj::Maybe<int> workingDirectory;  // a folder's descriptor; belayd's own when absent
  Group group = Group::INHERIT;
  int deathSignal = 0;         // sent when the thread that spawned it dies (PR_SET_PDEATHSIG)
  kj::Maybe<int> nice;         // absolute, -20 to 19
  kj::Maybe<int> oomScoreAdj;  // what the kernel does not permit is left as it is
};

class Children;

// One running or finished child.
class Child {
 public:
  // What becomes of the process when this object is dropped before it has exited. Nobody waits for
  // it then, but it is reaped all the same (see Children).
  enum class OnDrop {
    KILL,        // SIGKILL
    KILL_GROUP,  // SIGKILL to its process group; for Group::PROCESS_GROUP and SESSION
    LEAVE,       // it lives on: shims
  };

  ~Child() noexcept(false);
  KJ_DISALLOW_COPY_AND_MOVE(Child);

  pid_t pid() const { return id; }
  // Borrowed; readable once the process has exited.
  int pidfd() const { return handle; }

  // Resolves when the process has exited and was reaped. May be called any number of times, also
  // after the exit. Throws INTERNAL when the program could not be started at all, saying at which
  // step and why. Dropping the promise ends only the waiting.
  kj::Promise<ExitStatus> wait() { return exit.addBranch(); }

  // Sends a signal; false when the process has exited already.
  bool signal(int number);

 private:
  friend class Children;
  struct State;
  Child(Children& children, kj::Own<State> state, OnDrop onDrop);

  Children& children;
  OnDrop onDrop;
  kj::Own<State> state;
  pid_t id;
  int handle;
  kj::ForkedPromise<ExitStatus> exit;
};

// All children of this process. One per process, made by main; it outlives every Child.
class Children : private kj::TaskSet::ErrorHandler {
 public:
  explicit Children(kj::UnixEventPort& port);
  ~Children() noexcept(false);
  KJ_DISALLOW_COPY_AND_MOVE(Children);

  // Starts a program and returns at once: that exec failed is told by Child::wait(). The child has
  // all signals at their defaults and none blocked (KJ ignores SIGPIPE and blocks what it captures,
  // and both would be inherited). Throws what clone3(2) says, such as RESOURCE_EXHAUSTED.
  kj::Own<Child> spawn(const Command& command, Child::OnDrop onDrop);

  // For a process that is a subreaper (PR_SET_CHILD_SUBREAPER): reaps orphans that became its
  // children and tells `onOrphan` of each, until the promise is dropped. Children made by spawn()
  // are recognised and get their own status even if they are reaped here, so this is the only other
  // waitid() the process may have. UnixEventPort::captureSignal(SIGCHLD) must have been called
  // before, and nobody may use UnixEventPort::captureChildExit().
  kj::Promise<void> reapOrphans(kj::Function<void(pid_t, ExitStatus)> onOrphan);

  // Resolves when every child spawned so far runs its program or has ended. Until then it holds a
  // copy of every descriptor that was open when it was spawned, locks and leases included.
  kj::Promise<void> whenAllStarted();

  // For a process that is no longer the parent of its children: whoever waits for one is told
  // UNAVAILABLE, and none can be made.
  void abandon();

  // Resolves when no dropped child waits to be reaped any more; for tests and for an orderly end.
  kj::Promise<void> whenDroppedAreReaped();

 private:
  friend class Child;

  kj::UnixEventPort& port;
  // Those not yet reaped, by pid: a pid cannot be used again before it is reaped.
  kj::HashMap<pid_t, Child::State*> unreaped;
  bool abandoned = false;
  kj::Canceler waits;
  kj::TaskSet dropped;

  kj::Promise<ExitStatus> waitFor(Child::State& state);
  void reapReady(kj::Function<void(pid_t, ExitStatus)>& onOrphan);
  void taskFailed(kj::Exception&& exception) override;
};

}  // namespace belay::snapshot
