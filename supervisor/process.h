// belayd as a process: what it takes from the machine before it serves.
#pragma once

#include <kj/io.h>

#include "supervisor/cgroups.h"
#include "supervisor/config/config.h"

namespace belay::supervisor {

// What one belayd has for itself, until its process ends: what another one finds there it would
// take for a dead one's, and end it. Locked with flock(2), so that a program that takes this one's
// place keeps them.
//
// Taking one throws FAILED_PRECONDITION, and says which setting to change, when another belayd has
// it. One that is dying is waited for, for a second.
struct Locks {
  kj::AutoCloseFd root;     // database and store
  kj::AutoCloseFd state;    // the pods' folders
  kj::AutoCloseFd cgroups;  // homes of helpers

  // Take what is not there yet. The folders are made if they are absent.
  void takeFolders(const Config& config);
  void takeCgroups(const Cgroups& own);
};

// A node full of pods needs some ten descriptors for each container.
void raiseFileLimit();

}  // namespace belay::supervisor
