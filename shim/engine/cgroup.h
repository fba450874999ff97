// One cgroup: a directory of the same path in every hierarchy, behind one interface for v1, the
// hybrid layout and v2.
//
// The pod's cgroup holds containers' cgroups and no process of its own (v2 allows nothing else). An
// exec gets a child cgroup of its container's, so that a time-out can kill all that it started. The
// child has no controllers: a v2 cgroup may have processes or give controllers to its children, not
// both, and the container's processes stay in the cgroup with the limits, where they look for them.
#pragma once

#include <kj/async.h>
#include <kj/io.h>
#include <kj/memory.h>
#include <kj/string.h>
#include <kj/vector.h>
#include <sys/types.h>

#include "shim/engine/cgroup-hierarchies.h"
#include "shim/spec.capnp.h"

namespace belay::shim {

struct EngineContext;

class Cgroup {
  // Only the functions below make one.
  struct Badge {};

 public:
  Cgroup(Badge, const CgroupHierarchies& hierarchies, kj::String path, kj::String killPath,
         bool isNew);

  // Makes the cgroup and every missing parent in each hierarchy. Already there is fine (`made()`
  // tells). `path` is absolute below each hierarchy's root and has no "." or ".." in it. A failure
  // throws and leaves nothing that was not there before.
  static kj::Own<Cgroup> create(const CgroupHierarchies& hierarchies, kj::StringPtr path);

  // One that exists, for a successor of the shim or to remove what another one made.
  static kj::Own<Cgroup> open(const CgroupHierarchies& hierarchies, kj::StringPtr path);

  // A child to enter by one exec: where processes are killed and counted it is a cgroup of its own,
  // everywhere else it is this one. `name` is one path component.
  kj::Own<Cgroup> createChild(kj::StringPtr name);

  // The children of createChild() that are there, whose names begin so.
  kj::Vector<kj::Own<Cgroup>> children(kj::StringPtr prefix) const;

  // Writes the limits that are set; the others stay. Throws naming the file, the value and the
  // errno; what was written before it then stays, too, so this is for a new cgroup.
  void limit(Resources::Reader resources);

  // The same for one in use, with the oom_score_adj (-1000 to 1000) of every process in it and
  // below, all or nothing: after a failure everything is as it was. A memory limit below what is in
  // use and cannot be reclaimed is a failure, on v2 as on v1.
  void changeLimits(Resources::Reader resources, kj::Maybe<int32_t> oomScoreAdj);

  // Allows the devices and those every container has (null, zero, full, random, urandom, tty,
  // ptys), and nothing else, unless allDevices. Must come before the first process joins.
  void limitDevices(capnp::List<Device>::Reader devices, bool allDevices);

  // What a child needs to join before it does anything else.
  struct Joining {
    // v1: "tasks" of each hierarchy, open for writing; the child, single-threaded, writes "0".
    // (cgroup.procs would wait for an RCU grace period: 7 ms.)
    kj::Vector<kj::AutoCloseFd> tasks;

    // v2 and hybrid: the directory for CLONE_INTO_CGROUP. Null without a v2 hierarchy.
    kj::AutoCloseFd unified;
  };
  Joining joining() const;

  // SIGKILL to every process of it and of its children: cgroup.kill (v2, or the hybrid layout's
  // twin; Linux 5.14), else freeze, kill, thaw. Does not wait. Absent is fine.
  void kill();

  // True if no process is in it or below. True if absent.
  bool empty() const;

  // Resolves once it is empty. Dropping the promise is fine. The cgroup outlives the promise.
  kj::Promise<void> whenEmpty(EngineContext& context);

  // How many processes of it the kernel's OOM killer has killed. Read it before remove(). 0 if
  // absent.
  uint64_t oomKills() const;

  // Processes in it and below, at most `limit`, in the host's pid namespace.
  kj::Vector<pid_t> pids(size_t limit = 4096) const;

  // Removes it in all hierarchies, children first. Absent is fine; throws if a process is still in
  // it. The parents stay.
  void remove();

  // Removes it wherever it has neither process nor child. For a pod's: a second attempt of the pod
  // may be in it already.
  void removeIfUnused();

  kj::StringPtr getPath() const { return path; }

  // True if create() or createChild() made the directory in at least one hierarchy.
  bool made() const { return isNew; }

 private:
  // Where killing and counting happens: the v2 hierarchy, else the v1 freezer.
  const CgroupHierarchies::Hierarchy& killHierarchy() const;
  kj::StringPtr pathIn(const CgroupHierarchies::Hierarchy& hierarchy) const;

  const CgroupHierarchies& hierarchies;
  kj::String path;

  // Differs from `path` for an exec's child cgroup.
  kj::String killPath;

  bool isNew;
};

}  // namespace belay::shim
