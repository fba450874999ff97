// What every part of the shim works with; main makes one.
#pragma once

#include "shim/engine/context.h"
#include "shim/foreign-exits.h"
#include "shim/reaper.h"
#include "shim/sessions.h"
#include "shim/stdio/log-disk.h"
#include "shim/stdio/work.h"

namespace belay::shim {

struct ShimContext {
  EngineContext& engine;
  Reaper& reaper;
  ForeignExits& foreignExits;
  LogDisk& disk;
  WorkCounter& work;
  Sessions& sessions;
};

}  // namespace belay::shim
