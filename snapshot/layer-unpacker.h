// Turns blobs into layer folders, several at once, each chain id only once however many pulls want
// it.
#pragma once

#include <kj/async.h>
#include <kj/map.h>
#include <kj/refcount.h>

#include "snapshot/helpers.h"
#include "snapshot/store.h"
#include "snapshot/sys/slots.h"

namespace belay::snapshot {

// A layer of an image as its manifest and configuration describe it.
struct LayerSource {
  Digest blob;
  Digest diffId;
  Digest chainId;
  kj::String mediaType;  // OCI image-spec, layer.md; Docker's equivalents
};

class LayerUnpacker {
 public:
  // `store` and `helpers` outlive this object. `parallel` layers are unpacked at once, over all
  // calls.
  LayerUnpacker(Store& store, Helpers& helpers, kj::uint parallel);
  KJ_DISALLOW_COPY_AND_MOVE(LayerUnpacker);

  // Brings all layers (bottom first) into the store, each as soon as its blob is there: whoever
  // calls this before sees to it that the blobs come. They are unpacked in parallel and committed
  // in order: a layer in the store stands on layers in the store. What the uncompressed tar really
  // hashes to is compared with diffId before.
  //
  // A layer that another call is making is waited for. Dropping the promise stops the layers that
  // no other call waits for, and leaves nothing of them. Throws FAILED_PRECONDITION for a blob that
  // is no layer or has another diff id.
  kj::Promise<void> unpack(kj::Array<LayerSource> layers);

 private:
  // One layer in the making, alive as long as somebody waits for it or for one above it.
  class Job;
  Store& store;
  Helpers& helpers;
  Slots slots;
  kj::HashMap<Digest, Job*> jobs;

  kj::Promise<void> make(LayerSource source, kj::Maybe<kj::Own<Job>> below);
};

}  // namespace belay::snapshot
