// Puts the entries of one layer's tar on disk, in the form that overlay mounts with `userxattr`
// read: a whiteout becomes a character device 0:0, an opaque folder gets user.overlay.opaque=y.
#pragma once

#include <kj/io.h>
#include <map>
#include <string>

#include "snapshot/pull/staging-folder.h"
#include "snapshot/pull/tar-reader.h"

namespace belay::snapshot {

// What one layer may have. Disk space is the operator's to limit; these bound the time and memory
// that entries which take no space can cost.
struct LayerLimits {
  uint64_t entries = 8'000'000;
  uint64_t contentBytes = uint64_t{1} << 40;
  uint64_t folderNameBytes = uint64_t{256} << 20;  // kept in memory until finish()
};

// Rules, where layer.md leaves a choice:
//  - a later entry for the same path replaces the earlier one; a folder over a folder changes only
//    its attributes;
//  - a whiteout hides lower layers, never what this layer itself has at the name, whichever comes
//    first: a folder there becomes opaque instead;
//  - of extended attributes security.capability and user.* are kept, but none of user.overlay.*,
//    which would let a layer speak to overlay itself (redirects, metacopy); all others are dropped;
//  - devices 0:0 are refused: they would be whiteouts that a scanner of the tar does not see;
//  - hard links lead to what this layer has, resolved within the root like any path.
//
// Files are made with umask 0 by whoever runs this; the caller sets it.
class LayerWriter {
 public:
  // `root` is a descriptor (O_PATH suffices) of the empty folder to fill.
  explicit LayerWriter(kj::AutoCloseFd root, LayerLimits limits = {});

  // Makes one entry; the content of a file is taken from `reader`. Throws a pull error INVALID for
  // what no layer may have; KJ's exception with errno when the disk fails. Either way the folder is
  // half filled and of no use.
  void add(const TarEntry& entry, TarReader& reader);

  // Sets the times of folders, which making their content has changed. To be called once, last.
  void finish();

  uint64_t entries() const { return entryCount; }
  uint64_t contentBytes() const { return byteCount; }

 private:
  void addFolder(const TarEntry& entry, kj::StringPtr path, int parent, kj::StringPtr name);
  void addFile(const TarEntry& entry, TarReader& reader, int parent, kj::StringPtr name);
  void addHardLink(const TarEntry& entry, kj::StringPtr path, int parent, kj::StringPtr name);
  void addSymlink(const TarEntry& entry, int parent, kj::StringPtr name);
  void addNode(const TarEntry& entry, int parent, kj::StringPtr name);
  void addWhiteout(int parent, kj::StringPtr name);

  void setOwner(int fd, const TarEntry& entry);
  void setOwnerAndTime(int parent, kj::StringPtr name, const TarEntry& entry);
  void setXattrs(int fd, const TarEntry& entry);
  void setFolderAttributes(int fd, const TarEntry& entry, kj::StringPtr path);
  void makeOpaque(int fd);

  StagingFolder staging;
  LayerLimits limits;
  uint64_t entryCount = 0;
  uint64_t byteCount = 0;
  uint64_t folderNameBytes = 0;
  // Whom new files belong to (fsuid and fsgid): no chown is needed for those.
  uint32_t createdUid;
  uint32_t createdGid;
  std::map<std::string, struct timespec> folderTimes;
};

}  // namespace belay::snapshot
