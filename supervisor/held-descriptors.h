// Duplicates of what must not die with a shim: read ends of output FIFOs, pty masters, open write
// ends of input, gates and pidfds (shim.capnp, Shim.descriptors). belayd touches none of them; it
// holds them, so that the pod's next shim gets them, and has its service manager hold them, too, so
// that they outlive belayd.
#pragma once

#include <kj/function.h>
#include <kj/io.h>
#include <kj/map.h>
#include <kj/string.h>
#include <kj/vector.h>

namespace belay::supervisor {

// Named "<container id>/stdout" and so on; ids of containers are unique among all pods.
class HeldDescriptors {
 public:
  HeldDescriptors() = default;
  KJ_DISALLOW_COPY_AND_MOVE(HeldDescriptors);

  // In place of an earlier one of that name.
  void keep(kj::StringPtr name, kj::AutoCloseFd fd);
  // The same for one that comes from the service manager, or from a predecessor who had told it.
  void takeBack(kj::StringPtr name, kj::AutoCloseFd fd);

  // Closes it: somebody is to meet the end of a stream. Absent is fine.
  void release(kj::StringPtr name);
  // The same for all of one container's.
  void releaseAllOf(kj::StringPtr containerId);

  // Closes all of this process's, and tells nobody: another process has them.
  void forgetAll() { held.clear(); }

  // Borrowed.
  kj::Maybe<int> find(kj::StringPtr name) const;

  struct Held {
    kj::StringPtr name;  // valid until it is released
    int fd;              // borrowed
  };
  kj::Vector<Held> allOf(kj::StringPtr containerId) const;
  kj::Vector<Held> all() const;

  // Releases those of containers that are not known any more: what a dead belayd could not.
  void releaseStrangers(kj::FunctionParam<bool(kj::StringPtr containerId)> isKnown);

 private:
  kj::HashMap<kj::String, kj::AutoCloseFd> held;

  template <typename Condition>
  void releaseIf(Condition&& condition);
};

}  // namespace belay::supervisor
