// Whom the kernel's OOM killer takes first: oom_score_adj of the processes of a cgroup that runs.
#pragma once

#include <stdint.h>

namespace belay::shim {

class Cgroup;

// Sets oom_score_adj of every process in the cgroup and below, those forked meanwhile too. All or
// nothing: a failure puts back what was set before it and throws, naming the process. Processes
// that end meanwhile are passed over.
void changeOomScores(const Cgroup& cgroup, int32_t score);

}  // namespace belay::shim
