// A pod whose shim has died gets another one, which adopts what the dead one left: to the pod's
// processes nothing has happened.
#pragma once

#include "supervisor/parts.h"

namespace belay::supervisor {

class Succession {
 public:
  // `parts` outlive this object.
  explicit Succession(Parts& parts) : parts(parts) {}
  KJ_DISALLOW_COPY_AND_MOVE(Succession);

  // Starts shims until one has adopted the pod, whose connection expects one (ShimConnection).
  // Throws when that is in vain, saying why; the connection has given up then. While the dead
  // shim's process hangs in the kernel it is tried again and again: there are never two. Dropping
  // the promise kills the shim that has not adopted yet.
  kj::Promise<void> run(Pod& pod);

 private:
  Parts& parts;

  kj::Promise<bool> startAndAdopt(Pod& pod);
  kj::Promise<void> adopt(Pod& pod, ShimLauncher::Started& started);
};

}  // namespace belay::supervisor
