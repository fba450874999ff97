// belayd's command line: what to do, and the configuration that files and flags add up to.
#pragma once

#include <kj/string.h>

#include "supervisor/config/config.h"

namespace belay::supervisor {

struct CommandLine {
  enum class Action {
    SERVE,         // no words
    CONFIG_DUMP,   // "config dump": print the effective configuration
    CONFIG_CHECK,  // "config check": load it, say that it is good
    PRINT,         // --help, --version: print `text`, exit 0
    UPGRADE,       // "upgrade [PROGRAM]": have the belayd that runs become `text`, or its own file
    CHECK_HANDOVER,  // "check-handover": belayd itself asks whether this one could take its place
  };

  Action action = Action::SERVE;
  Config config;
  kj::String text;
};

// Reads flags, then the files they name, and applies the flags over them. `argv[0]` is ignored;
// `executableDir` is where this executable lies (absolute). A configuration file that does not
// exist is fine unless --config named it. Throws INVALID_ARGUMENT with one sentence naming the
// flag, or file, line and key.
CommandLine parseCommandLine(int argc, const char* const* argv, kj::StringPtr executableDir,
                             kj::StringPtr version);

// The folder of the running executable (/proc/self/exe).
kj::String executableFolder();

}  // namespace belay::supervisor
