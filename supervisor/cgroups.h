// Cgroups as far as belayd itself needs them: homes for what outlives it, outside its own cgroup,
// and the end of what a dead shim left behind. (Limits and counters are the shims' business.)
#pragma once

#include <kj/async.h>
#include <kj/io.h>
#include <kj/string.h>
#include <kj/timer.h>
#include <kj/vector.h>
#include <sys/types.h>

namespace belay::supervisor {

class Cgroups {
 public:
  // Finds the mounted hierarchies: v1, v2, or both (hybrid). `root` is the name below which belayd
  // keeps what is its own, "belay" (Config::cgroupRoot). Makes the homes of shims and of streaming
  // sessions there.
  explicit Cgroups(kj::StringPtr root);
  KJ_DISALLOW_COPY_AND_MOVE(Cgroups);

  kj::StringPtr rootName() const { return root; }
  // /ROOT in the hierarchy that has marks (makeMark()): to be locked.
  kj::AutoCloseFd openRoot() const;

  // What a new shim joins before it runs, so that neither belayd's limits nor its service's end
  // reach it: /ROOT/shims in each v1 hierarchy, one cgroup for all, and /ROOT/shims/ID in v2's,
  // one for each, by which a shim can be killed with all its helpers.
  struct Home {
    kj::ArrayPtr<const kj::AutoCloseFd> tasks;  // v1: to be written "0" by the child
    kj::AutoCloseFd folder;                     // v2: for CLONE_INTO_CGROUP; null without one
  };
  Home makeHome(kj::StringPtr podId);

  // The same for streaming sessions: /ROOT/sessions in every hierarchy, one for all of them.
  Home sessionsHome();
  // Those that live there: this belayd's, and those that outlived a former one.
  kj::Vector<pid_t> sessions() const;

  // A cgroup in one hierarchy alone, by which it is known who has joined it: v2's, or where there
  // is none a v1 hierarchy's.
  struct Mark {
    kj::AutoCloseFd tasks;   // as those of a home
    kj::AutoCloseFd folder;  // one of both is null
  };
  Mark makeMark(kj::StringPtr path);

  // Names of the cgroups directly below `path`, in any hierarchy. None if it is absent.
  kj::Vector<kj::String> childrenOf(kj::StringPtr path) const;

  // Kills what is left of a shim and its helpers, and takes its home away. Absent is fine.
  kj::Promise<void> removeHome(kj::StringPtr podId, kj::Timer& timer);

  // SIGKILL to every process in the cgroup `path` (absolute below each hierarchy's root) and below,
  // then removes it everywhere. Absent is fine. Throws INTERNAL, naming a process, when one does
  // not die within `limit` (it hangs in the kernel).
  kj::Promise<void> destroy(kj::String path, kj::Timer& timer, kj::Duration limit = LIMIT);

  // The same without the removal: for a cgroup whose owner takes it away when it is empty.
  kj::Promise<void> killAll(kj::String path, kj::Timer& timer, kj::Duration limit = LIMIT);

  // Resolves when no hierarchy has it any more, for it is another one's to remove. Throws as
  // destroy() does.
  kj::Promise<void> whenGone(kj::String path, kj::Timer& timer, kj::Duration limit = LIMIT);

  // Whether any hierarchy has it.
  bool exists(kj::StringPtr path) const;

  // Whether v2's is the only hierarchy.
  bool areUnifiedAlone() const;

  // --- in the v2 hierarchy
  // Whether a process lives in it or below. False if it is not there.
  bool hasProcess(kj::StringPtr path) const;
  // Moves the process there; makes the last component of the path if it is missing. May block for
  // some milliseconds: the kernel waits for others that move.
  void move(pid_t process, kj::StringPtr path);

  // Removes it wherever it has neither process nor child. Absent is fine.
  void removeIfUnused(kj::StringPtr path);

  static constexpr kj::Duration LIMIT = 10 * kj::SECONDS;

 private:
  struct Hierarchy {
    kj::String mountPoint;
    kj::AutoCloseFd folder;
    bool unified;
  };

  kj::String root;
  kj::Vector<Hierarchy> hierarchies;
  kj::Vector<kj::AutoCloseFd> shimTasks;
  kj::Vector<kj::AutoCloseFd> sessionTasks;

  kj::Vector<pid_t> processesIn(kj::StringPtr path) const;
  kj::Vector<pid_t> killOnce(kj::StringPtr path);
  bool tryRemove(kj::StringPtr path);
  kj::Vector<kj::AutoCloseFd> makeHomeOfAll(kj::StringPtr path);
  kj::AutoCloseFd unifiedFolder(kj::StringPtr path);
  kj::String homeOf(kj::StringPtr podId) const;
  kj::Maybe<const Hierarchy&> unified() const;
  const Hierarchy& markHierarchy() const;
};

}  // namespace belay::supervisor
