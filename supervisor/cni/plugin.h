// Runs one CNI plug-in once (CNI specification 1.1.0, section 2): configuration on its standard
// input, parameters in its environment, the result on its standard output.
#pragma once

#include <kj/async.h>
#include <kj/timer.h>

#include "snapshot/sys/helper-place.h"

namespace belay::supervisor {

struct PluginCall {
  kj::String path;
  kj::String type;     // its name, for sentences
  kj::String command;  // CNI_COMMAND
  kj::String input;
  kj::Array<kj::String> env;  // whole
  kj::Maybe<snapshot::HelperPlace&> place;
};

// The plug-in's file below the first of the folders that has an executable file of this name;
// `type` is a plain file name. Absent when none has.
kj::Maybe<kj::String> findPlugin(kj::ArrayPtr<const kj::String> folders, kj::StringPtr type);

// What the plug-in printed (1 MiB at most), once it has exited with 0. It is done when its process
// is: a descendant that keeps its output open delays nothing. Throws what it said (result.h), or
// DEADLINE_EXCEEDED at the time-out. Its process group is killed at the time-out and when the
// promise is dropped, and it dies with belayd; what it started and left is found by its place.
kj::Promise<kj::String> runPlugin(snapshot::Children& children, kj::Timer& timer,
                                  kj::Duration timeout, PluginCall call);

}  // namespace belay::supervisor
