// Where helper processes live, so that those of a killed belayd can be found by who comes after it.
#pragma once

#include <kj/async.h>

#include "snapshot/sys/child.h"

namespace belay::snapshot {

class HelperPlace {
 public:
  // To be called for each command before it is started: the child is born there.
  virtual void receive(Command& command) = 0;

  // Resolves when no helper of a former belayd lives there any more: before that nothing that such
  // a one did may be undone or repeated. Throws INTERNAL, naming it, when one does not die; may be
  // called again.
  virtual kj::Promise<void> whenFree() = 0;

 protected:
  ~HelperPlace() = default;
};

}  // namespace belay::snapshot
