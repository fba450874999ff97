// Makes the root file systems of containers out of a store's layers. One interface for all ways to
// do it; each must pass the suite in snapshotter-suite.h.
//
// A snapshot is a container's own writable top upon an image's layers. It has a key (the
// container's id) and lives on disk until removed: across restarts of belayd and of the machine. A
// snapshotter mounts nothing: it describes a mount, and the shim's helper makes it in the
// container's own mount namespace, so that the host never sees it.
#pragma once

#include <kj/array.h>
#include <kj/async.h>
#include <kj/string.h>

#include "snapshot/digest.h"
#include "snapshot/helpers.h"

namespace belay::snapshot {

// An overlay to be mounted (shim/spec.capnp's Rootfs).
struct RootfsMount {
  kj::Array<kj::String> lower;  // absolute paths, top layer first; never empty
  kj::String upper;
  kj::String work;
  kj::Array<kj::String> options;  // flags and "key=value" for fsconfig(2)
};

class Snapshotter {
 public:
  virtual ~Snapshotter() noexcept(false) = default;

  // "overlay"; as in an image filesystem's identifier and the configuration.
  virtual kj::StringPtr name() const = 0;

  // Makes a snapshot upon the image whose layers have these chain ids, bottom first (none: an image
  // without layers). Durable against a crash of belayd, not of the machine. Costs a few mkdirs.
  // Throws ALREADY_EXISTS for a key in use, NOT_FOUND for a layer that the store does not have (the
  // image must be pulled again), INVALID_ARGUMENT for a key that is no plain file name.
  virtual RootfsMount prepare(kj::StringPtr key, kj::ArrayPtr<const Digest> chainIds) = 0;

  // The description that prepare() gave; null for an unknown key.
  virtual kj::Maybe<RootfsMount> find(kj::StringPtr key) = 0;

  // Gone from list() and its key free at return; the space is freed in the background. An unknown
  // key is no error. The container must be dead and its mount gone.
  virtual void remove(kj::StringPtr key) = 0;

  // What the snapshot itself takes, without its layers. Walks the tree in a helper process: not for
  // every scrape. Throws NOT_FOUND for an unknown key.
  virtual kj::Promise<Usage> usage(kj::StringPtr key) = 0;

  struct Snapshot {
    kj::String key;
    kj::Array<Digest> chainIds;  // what it stands on: live layers for Store::collect()
  };
  virtual kj::Array<Snapshot> list() = 0;

  // Resolves when the space of all removed snapshots is free again.
  virtual kj::Promise<void> whenTrashIsEmpty() = 0;
};

}  // namespace belay::snapshot
