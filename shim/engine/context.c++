// What every function of the engine is given.
#include "shim/engine/context.h"

#include <kj/debug.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

namespace belay::shim {
namespace {

// The strings lie where /proc/PID/environ reads them, also that of a copy of this process.
void wipeEnvironment() {
  for (char** variable = environ; *variable != nullptr; ++variable)
    explicit_bzero(*variable, strlen(*variable));
  *environ = nullptr;
}

}  // namespace

void hardenEngineProcess() {
  KJ_SYSCALL(prctl(PR_SET_DUMPABLE, 0));
  wipeEnvironment();
}

}  // namespace belay::shim
