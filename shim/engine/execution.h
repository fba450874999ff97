// What the last steps of a container's process need, in memory of its own: the shim's can then be
// forgotten (shim-memory.h).
#pragma once

#include <kj/common.h>

#include "shim/engine/process-plan.h"
#include "shim/engine/report.h"

namespace belay::shim {

// Command, system call filter and capabilities of a process about to run.
struct Execution {
  char* const* argv = nullptr;
  char* const* envp = nullptr;
  // $PATH of the process, or the default.
  const char* searchPath = nullptr;
  kj::ArrayPtr<const kj::byte> filter;
  uint32_t filterFlags = 0;
  bool hasListener = false;
  bool filterLoaded = false;
  uint64_t effective = 0;
  uint64_t permitted = 0;
  uint64_t inheritable = 0;
  bool terminal = false;
  bool noNewPrivileges = false;
};

// Copies it out of the plan, whose environment is complete. For children after the clone: takes one
// fresh mapping, which is never given back.
Execution takeExecution(const Reporter& reporter, ProcessPlan& plan);

}  // namespace belay::shim
