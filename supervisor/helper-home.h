// Homes of the helpers that do belayd's work: CNI plug-ins, and belay-pull. A helper dies with
// belayd, by PR_SET_PDEATHSIG; what it has started does not, nor does one that has changed its
// user. By their cgroup they are found.
#pragma once

#include <kj/vector.h>

#include "snapshot/sys/helper-place.h"
#include "supervisor/cgroups.h"

namespace belay::supervisor {

// Cgroups /ROOT/NAME/0, 1, ... in one hierarchy. A belayd puts its helpers into one that was not
// there before, and takes away those that were.
class HelperHome final : public snapshot::HelperPlace {
 public:
  // `path` is below each hierarchy's root: "belay/cni". `cgroups` and `timer` outlive this object.
  HelperHome(Cgroups& cgroups, kj::String path, kj::Timer& timer);
  KJ_DISALLOW_COPY_AND_MOVE(HelperHome);

  // Makes the cgroup for this belayd's helpers, by the lowest number that is free. To be called
  // before the first helper is started, and best once those of the former are dead.
  void open();

  void receive(snapshot::Command& command) override;
  kj::Promise<void> whenFree() override;

 private:
  Cgroups& cgroups;
  kj::String path;
  kj::Timer& timer;
  kj::Vector<kj::String> former;
  bool failed = false;
  kj::Maybe<kj::ForkedPromise<void>> sweeping;
  kj::Maybe<Cgroups::Mark> own;

  kj::Promise<void> sweep();
};

}  // namespace belay::supervisor
