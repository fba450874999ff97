// The pods' directories, STATE/pods/ID: where a shim keeps its socket, records, FIFOs and pins, and
// belayd the pod's hosts files. The folder is belayd's to make and to take away.
#pragma once

#include <kj/array.h>
#include <kj/io.h>
#include <kj/string.h>

#include "shim/shim.capnp.h"
#include "supervisor/owned.h"

namespace belay::supervisor {

class PodFolders {
 public:
  // `state` is Config::state; the folder and its pods/ are made (0711, 0700) if absent.
  explicit PodFolders(kj::StringPtr state);
  KJ_DISALLOW_COPY_AND_MOVE(PodFolders);

  // Throws ALREADY_EXISTS.
  kj::AutoCloseFd make(kj::StringPtr id);
  kj::Maybe<kj::AutoCloseFd> open(kj::StringPtr id);

  // Absolute.
  kj::String pathOf(kj::StringPtr id) const;

  // Ids of all there are, also of pods that nobody knows any more.
  kj::Array<kj::String> list();

  // Unmounts what a shim had mounted there, and deletes everything. Absent is fine. No process of
  // the pod may live any more.
  void remove(kj::StringPtr id);

  // What the shim wrote down last (shim.capnp's ShimRecord), for a shim that is dead. Null if there
  // is none or it cannot be read.
  kj::Maybe<Owned<shim::ShimRecord>> record(kj::StringPtr id);

 private:
  kj::String path;
  kj::AutoCloseFd folder;
};

// Takes a pin away: unmounts the file and unlinks it. Unlinking alone would detach it everywhere,
// but an unmount first keeps the file system quiet. Absent is fine.
void removePin(kj::StringPtr path);

}  // namespace belay::supervisor
