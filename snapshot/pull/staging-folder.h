// The folder that a layer is unpacked into, reached only through descriptors: no path of a layer is
// ever resolved outside it, whatever symbolic links the layer has made on the way.
#pragma once

#include <fcntl.h>
#include <kj/io.h>
#include <kj/string.h>
#include <sys/stat.h>

namespace belay::snapshot {

// Nobody else changes the folder meanwhile; openat2's EAGAIN, which comes from renames elsewhere on
// the machine, is retried.
class StagingFolder {
 public:
  // `root` is a descriptor (O_PATH suffices) of the empty folder.
  explicit StagingFolder(kj::AutoCloseFd root);

  // A descriptor (O_PATH) of a folder of the layer, "" for the root, which is made with its parents
  // where it is missing (mode 0755, root's: a layer may leave out parents, and the layers below are
  // not in sight; Docker's overlay2 does the same). Symbolic links on the way are followed within
  // the root. Valid until the next call of any method here. Throws a pull error when the way leads
  // through something that is no folder.
  int folder(kj::StringPtr path);

  // Opens (O_RDONLY) the folder at `path`; null when there is none or a symbolic link stands there.
  kj::Maybe<kj::AutoCloseFd> tryOpen(kj::StringPtr path) const;

  // Opens what `name` in `folderFd` is, without following a link.
  static kj::AutoCloseFd openDirectory(int folderFd, kj::StringPtr name);

  // What is at `name` in `folderFd`; null when nothing is.
  static kj::Maybe<struct stat> status(int folderFd, kj::StringPtr name);

  // Removes what is at `name`, if anything: a folder with all its content (remove-tree.h).
  void remove(int folderFd, kj::StringPtr name);

  int rootFd() const { return root; }

 private:
  kj::Maybe<kj::AutoCloseFd> tryResolve(kj::StringPtr path);
  void makeMissing(kj::StringPtr path);

  kj::AutoCloseFd root;
  // Entries come folder by folder, so the last one is nearly always the next one. Empty when
  // nothing is remembered (the root needs no memory).
  kj::String lastPath;
  kj::AutoCloseFd lastFd;
};

}  // namespace belay::snapshot
