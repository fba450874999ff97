// What belayd can verify of an image that belay-pull parsed, without parsing anything itself.
#pragma once

#include <capnp/message.h>
#include <kj/array.h>
#include <kj/memory.h>

#include "snapshot/image.capnp.h"
#include "snapshot/layer-unpacker.h"
#include "snapshot/reference.h"
#include "snapshot/store.h"

namespace belay::snapshot {

struct CheckedImage {
  kj::Own<capnp::MallocMessageBuilder> message;  // root: Image
  kj::Array<LayerSource> layers;                 // bottom first
  kj::Array<Digest> blobs;
};

// The layers as far as they can be verified before their blobs are there: well-formed digests,
// chain ids that follow from the diff ids, not more than `maxLayers`. Throws FAILED_PRECONDITION.
kj::Array<LayerSource> checkLayers(Image::Reader image, uint32_t maxLayers);

// Copies the image and verifies: every digest is well formed, every blob is in the store, the chain
// ids follow from the diff ids, the layers are not too many. Sizes and the configuration's JSON are
// taken from the store instead of from the message; its names are dropped. Throws
// FAILED_PRECONDITION.
CheckedImage checkImage(Image::Reader reported, Store& store, uint32_t maxLayers);

// What the store lacks of an image that was recorded once, as a sentence; null if it is all there.
// Looks at names and sizes, and hashes what is small: an image's content was synced before its
// record, so this is for disks that lost something, not for readers of every byte.
kj::Maybe<kj::String> faultOf(Image::Reader image, Store& store);

// The names of an image that was pulled as `reference`. `reported` tells which digest the registry
// has for the tag; it must be one of the image's blobs, and the digest of the reference itself if
// that has one: otherwise FAILED_PRECONDITION.
void setPulledNames(Image::Builder image, const Reference& reference, Image::Reader reported);

// The names of an image out of an archive: what the archive says, completed to full references, or
// `wanted` if it says nothing that is a reference.
void setImportedNames(Image::Builder image, kj::StringPtr wanted, Image::Reader reported);

}  // namespace belay::snapshot
