// Makes the Image record (image.capnp) of a manifest and a configuration.
#pragma once

#include "snapshot/image.capnp.h"
#include "snapshot/pull/manifest.h"

namespace belay::snapshot {

struct ImageParts {
  kj::Vector<kj::String> repoTags;
  kj::Vector<kj::String> repoDigests;
  kj::Vector<Digest> documents;  // index and manifest, as they are in the store
  Digest manifestDigest;
  ImageManifest manifest;
  kj::Array<const kj::byte> configJson;
};

// Throws a pull error INVALID when the configuration is malformed or does not match the manifest,
// and NOT_FOUND when the image is for another platform than `machine`.
void buildImage(Image::Builder image, const ImageParts& parts, const Platform& machine);

}  // namespace belay::snapshot
