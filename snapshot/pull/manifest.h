// Manifests and indexes as registries serve them: OCI image-spec (manifest.md, image-index.md) and
// Docker's manifest v2, schema 2. Digests are well formed and sizes within the limits once parsed.
#pragma once

#include <kj/string.h>
#include <kj/vector.h>
#include <stdint.h>

#include "snapshot/digest.h"

namespace belay::snapshot {

// The media types to ask a registry for.
constexpr kj::StringPtr MANIFEST_ACCEPT =
    "application/vnd.oci.image.index.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.v2+json, */*;q=0.1"_kj;

struct ManifestLimits {
  uint64_t maxManifestBytes;
  uint64_t maxBlobBytes;
  uint32_t maxLayers;
};

struct Platform {
  kj::String os;
  kj::String architecture;
  kj::String variant;
};

struct Descriptor {
  Digest digest;
  uint64_t sizeBytes;
  kj::String mediaType;
  Platform platform;         // of an index's entries; empty where not given
  kj::String referenceName;  // org.opencontainers.image.ref.name or containerd's image name
};

enum class ManifestKind { INDEX, IMAGE };

// What a document is: by its mediaType member, else by the type it came with, else by its members.
// Throws a pull error UNSUPPORTED for other types, schema 1 among them.
ManifestKind manifestKind(kj::ArrayPtr<const kj::byte> document, kj::StringPtr contentType);

// The manifests that an index lists, in its order.
kj::Vector<Descriptor> parseIndex(kj::ArrayPtr<const kj::byte> document,
                                  const ManifestLimits& limits);

struct ImageManifest {
  Descriptor config;
  kj::Vector<Descriptor> layers;  // bottom first
};

// Throws INVALID for what breaks the limits or the format, UNSUPPORTED when it is not the manifest
// of a container image (an artifact) or a layer has a media type that cannot be unpacked.
ImageManifest parseManifest(kj::ArrayPtr<const kj::byte> document, const ManifestLimits& limits);

}  // namespace belay::snapshot
