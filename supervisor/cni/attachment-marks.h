// The names of the pods that plug-ins were asked to attach: an empty file for each, there from
// before ADD until after DEL.
//
// What plug-ins keep on disk (host-local: an address) outlives a power cut, which may take the
// pod's record, for that is not synced before ADD. A journalling file system brings names to the
// disk in the order they were made: if the plug-in's file is there so is the mark, as long as both
// are on one disk.
#pragma once

#include <kj/array.h>
#include <kj/io.h>
#include <kj/string.h>

namespace belay::supervisor {

class AttachmentMarks {
 public:
  // `path` (absolute) is made if absent; its parent is there.
  explicit AttachmentMarks(kj::StringPtr path);

  // Once it is there already, or gone, nothing is to be done.
  void add(kj::StringPtr podId);
  void remove(kj::StringPtr podId);

  kj::Array<kj::String> list();

 private:
  kj::AutoCloseFd folder;
};

}  // namespace belay::supervisor
