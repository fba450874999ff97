// Implementation of keeper.h.
#include "shim/keeper.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "shim/engine/pod-init.h"

namespace belay::shim {

void becomeKeeper() {
  auto program = newIdleProgram();
  char name[] = "belay-keeper";
  char* arguments[] = {name, nullptr};
  char* environment[] = {nullptr};
  if (chdir("/") == 0) fexecve(program, arguments, environment);
  fprintf(stderr, "belay-shim: cannot become a cgroup's keeper: %s\n", strerror(errno));
  _exit(126);
}

}  // namespace belay::shim
