// How processes end that are not children of this one: a shim that has taken a pod over from a
// killed one does not reap its containers.
#pragma once

#include <kj/async-unix.h>
#include <kj/map.h>
#include <kj/timer.h>

#include "shim/reaper.h"

namespace belay::shim {

// Whoever reaps them (the supervisor, as the subreaper above the shims, or the machine's init)
// learns the status. The kernel tells it everybody with a pidfd from 6.15 on; where it does not,
// the supervisor may.
class ForeignExits final {
 public:
  // Both outlive this object.
  ForeignExits(kj::UnixEventPort& port, kj::Timer& timer) : port(port), timer(timer) {}
  KJ_DISALLOW_COPY_AND_MOVE(ForeignExits);

  // Resolves once the process has exited and the status is known, or TELL_PATIENCE after the exit
  // without it. `pidfd` is borrowed until then; -1 for one that is gone already. One waiter for
  // each pid.
  [[nodiscard]] kj::Promise<ExitStatus> onExit(pid_t pid, int pidfd);

  // What the supervisor has learned, at any time.
  void told(pid_t pid, ExitStatus status);

  // From a process's exit to its being reaped: an init may be busy.
  static constexpr kj::Duration TELL_PATIENCE = 5 * kj::SECONDS;

  // What is told of processes that nobody waits for is remembered up to this number.
  static constexpr size_t MAX_TOLD = 1024;

 private:
  kj::UnixEventPort& port;
  kj::Timer& timer;
  kj::HashMap<pid_t, ExitStatus> known;
  kj::HashMap<pid_t, kj::Own<kj::PromiseFulfiller<void>>> waiting;
};

}  // namespace belay::shim
