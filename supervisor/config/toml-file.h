// Configuration files.
#pragma once

#include <kj/string.h>

#include "supervisor/config/config.h"

namespace belay::supervisor {

enum class IfAbsent { FAIL, SKIP };

// Applies a file over what `config` holds: a key replaces, tables of handlers add up.
// INVALID_ARGUMENT with "FILE:LINE: ..." for what is no TOML, an unknown key, or a value that may
// not be.
void applyFile(Config& config, kj::StringPtr path, IfAbsent ifAbsent);

// Applies every *.toml file of a folder in the order of their names (bytes); a folder that does not
// exist holds none.
void applyFolder(Config& config, kj::StringPtr folder);

// applyFile() for text that is at hand; `source` stands for the file's name in sentences.
void applyToml(Config& config, kj::StringPtr text, kj::StringPtr source);

}  // namespace belay::supervisor
