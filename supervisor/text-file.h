// Small text files, /proc's and cgroups', read whole with a limit.
#pragma once

#include <kj/array.h>
#include <kj/string.h>
#include <kj/vector.h>

namespace belay::supervisor {

// Throws what open(2) and read(2) say. What is beyond `limitBytes` is an error.
kj::String readTextFile(kj::StringPtr path, size_t limitBytes);
// Below a folder's descriptor; a last component that is a symbolic link is not followed.
kj::String readTextFileAt(int folder, kj::StringPtr name, size_t limitBytes);

// The parts between separators, empty ones left out.
kj::Vector<kj::String> splitText(kj::StringPtr text, char separator);

}  // namespace belay::supervisor
