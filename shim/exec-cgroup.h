// A process's own cgroup below its container's, for as long as the process and what it left behind.
#pragma once

#include <kj/async.h>

#include "shim/engine/cgroup.h"
#include "shim/shim-context.h"

namespace belay::shim {

// How the names of all of them begin.
constexpr kj::StringPtr EXEC_CGROUP_PREFIX = "exec-"_kj;

// For one that has no owner any more: what runs in it goes on.
kj::Promise<void> removeWhenEmpty(ShimContext& context, kj::Own<Cgroup> cgroup);

// The cgroup of an exec. It is removed once it is empty, which is after this object's life if the
// process left a daemon behind.
class ExecCgroup {
 public:
  // `tasks` outlives every process; it gets the removal.
  ExecCgroup(ShimContext& context, kj::Own<Cgroup> cgroup, kj::TaskSet& tasks);
  // Kills what runs in it, unless release() was called.
  ~ExecCgroup() noexcept(false);
  KJ_DISALLOW_COPY_AND_MOVE(ExecCgroup);

  const Cgroup& get() const { return *cgroup; }
  void kill() { cgroup->kill(); }
  kj::Promise<void> whenEmpty() { return cgroup->whenEmpty(context.engine); }
  // What still runs may go on.
  void release() { released = true; }

 private:
  ShimContext& context;
  kj::Own<Cgroup> cgroup;
  kj::TaskSet& tasks;
  bool released = false;
};

}  // namespace belay::shim
