// Removes a file tree of a stranger's making: as deep and as wide as it likes.
#pragma once

#include <kj/string.h>

namespace belay::snapshot {

// Removes the folder `name` in `parentFd` with all that is in it, following no link and
// leaving everything mounted below it alone (the removal fails there then). Takes one descriptor
// and memory for the names from the top to the deepest folder, and time linear in the number of
// entries. Nobody else may change the tree meanwhile.
void removeTree(int parentFd, kj::StringPtr name);

}  // namespace belay::snapshot
