// The one place of the process that waits for children. A shim is a subreaper: besides its own
// children it inherits every orphan of its pod, so it reaps whatever comes and tells who asked.
#pragma once

#include <kj/async-unix.h>
#include <kj/map.h>
#include <sys/types.h>

namespace belay::shim {

// How a process ended.
struct ExitStatus {
  int code;              // exit code, or 128 + signal
  int signal;            // 0 unless it died by a signal
  int64_t finishedAtNs;  // CLOCK_REALTIME, when it was reaped
  bool known = true;     // false: nobody can tell any more; the code is then 255

  bool succeeded() const { return code == 0; }
};

// Reaps by SIGCHLD and waitid(P_ALL), because a pidfd tells of known processes only and the orphans
// would stay zombies. Nobody else in the process may call wait or waitid.
//
// A process is only reaped while the event loop runs: who clones (or has got children from the
// program that was executed in this process before) and calls onExit() before returning to the loop
// misses nothing. Where the pid arrives later (a grandchild's, by a message), a Hold taken before
// the first clone keeps the statuses of unknown processes until it is dropped.
class Reaper final : private kj::TaskSet::ErrorHandler {
 public:
  // Blocks SIGCHLD in this process; children must unblock it before they exec.
  explicit Reaper(kj::UnixEventPort& port);
  ~Reaper() noexcept(false);
  KJ_DISALLOW_COPY_AND_MOVE(Reaper);

  // Whether `pid` is a child of this process, or was one whose status a Hold has kept.
  bool knows(pid_t pid) const { return unclaimed.find(pid) != nullptr || isChild(pid); }

  // Resolves when `pid`, a child of this process, has been reaped. One waiter for each pid.
  // Dropping the promise leaves the process alone; it is still reaped.
  [[nodiscard]] kj::Promise<ExitStatus> onExit(pid_t pid);

  // While one lives, exits of processes that nobody waits for yet are remembered.
  class Hold {
   public:
    explicit Hold(Reaper& reaper) : reaper(reaper) { ++reaper.holds; }
    ~Hold() noexcept(false) {
      if (--reaper.holds == 0) reaper.unclaimed.clear();
    }
    KJ_DISALLOW_COPY_AND_MOVE(Hold);

   private:
    Reaper& reaper;
  };

 private:
  struct Waiter;

  static bool isChild(pid_t pid);

  kj::Promise<void> run();
  void reapAll();
  void taskFailed(kj::Exception&& exception) override;

  kj::UnixEventPort& port;
  kj::HashMap<pid_t, Waiter*> waiters;
  kj::HashMap<pid_t, ExitStatus> unclaimed;
  uint holds = 0;
  kj::TaskSet tasks;
};

}  // namespace belay::shim
