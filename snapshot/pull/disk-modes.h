// The modes of belay-pull that work on whole file trees for belayd, whose event loop must not wait
// for a disk. They read no contents, but the trees are of strangers' making: names, depth, links
// and counts are whatever a container left behind.
#pragma once

#include <stdint.h>

namespace belay::snapshot {

// Deletes everything inside the folder, which itself stays. Goes on past what cannot be deleted and
// throws for the first such thing at the end. Never leaves the file system that the folder is on.
void removeContents(int folderFd);

struct TreeSize {
  uint64_t inodes = 0;  // the folder itself included; a file with several links counts once
  uint64_t bytes = 0;   // allocated on disk
};

// Each level costs a descriptor.
constexpr unsigned MAX_MEASURED_DEPTH = 512;

// What the tree takes. It may change meanwhile: what vanishes is not counted. Not counted either is
// what lies more than `maxDepth` folders deep.
TreeSize measureTree(int folderFd, unsigned maxDepth = MAX_MEASURED_DEPTH);

// The modes `remove`, `measure` and `sync` as pull.capnp describes them; the exit status.
int removeMain();
int measureMain();
int syncMain();

}  // namespace belay::snapshot
