// For tests: which process of a cgroup is the first of a pid namespace.
#pragma once

#include <kj/debug.h>

#include <fstream>
#include <string>

#include "shim/engine/cgroup.h"

namespace belay::shim {

// The pid, for the caller, of the only member that is process 1 of a namespace right below the
// caller's. Children that made it may still be on their way out of the cgroup, so that counting its
// members tells nothing. Throws if there is none.
inline pid_t firstOfNamespace(const Cgroup& cgroup) {
  for (pid_t pid : cgroup.pids()) {
    std::ifstream status("/proc/" + std::to_string(pid) + "/status");
    auto first = "NSpid:\t" + std::to_string(pid) + "\t1";
    for (std::string line; std::getline(status, line);) {
      if (line == first) return pid;
    }
  }
  KJ_FAIL_REQUIRE("no process is the first of a pid namespace");
}

}  // namespace belay::shim
