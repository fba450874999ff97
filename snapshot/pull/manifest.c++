// See manifest.h.
#include "snapshot/pull/manifest.h"

#include "snapshot/pull/json.h"
#include "snapshot/pull/media-type.h"
#include "snapshot/pull/pull-error.h"

namespace belay::snapshot {

namespace {

constexpr kj::StringPtr OCI_INDEX = "application/vnd.oci.image.index.v1+json"_kj;
constexpr kj::StringPtr DOCKER_LIST =
    "application/vnd.docker.distribution.manifest.list.v2+json"_kj;
constexpr kj::StringPtr OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"_kj;
constexpr kj::StringPtr DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"_kj;
constexpr kj::StringPtr OCI_CONFIG = "application/vnd.oci.image.config.v1+json"_kj;
constexpr kj::StringPtr DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"_kj;

// An index of more entries is no list of platforms any more.
constexpr size_t MAX_INDEX_ENTRIES = 4096;

kj::Maybe<ManifestKind> kindOf(kj::StringPtr mediaType) {
  if (mediaType == OCI_INDEX || mediaType == DOCKER_LIST) return ManifestKind::INDEX;
  if (mediaType == OCI_MANIFEST || mediaType == DOCKER_MANIFEST) return ManifestKind::IMAGE;
  return nullptr;
}

kj::String referenceName(const Json& descriptor) {
  const Json& annotations = objectMember(descriptor, "annotations");
  // containerd and Docker write the whole name to the first, skopeo and others to the second.
  kj::String full = textMember(annotations, "io.containerd.image.name");
  return full != "" ? kj::mv(full) : textMember(annotations, "org.opencontainers.image.ref.name");
}

Descriptor parseDescriptor(const Json& object, uint64_t maxBytes, kj::StringPtr what) {
  if (!object.is_object()) failPull(FailureCode::INVALID, what, " is no descriptor");
  kj::String digestText = textMember(object, "digest");
  uint64_t size = countMember(object, "size");
  if (size > maxBytes) {
    failPull(FailureCode::INVALID, what, " has ", size, " bytes; the limit is ", maxBytes);
  }
  KJ_IF_MAYBE (digest, Digest::tryParse(digestText)) {
    const Json& platform = objectMember(object, "platform");
    return Descriptor{*digest,
                      size,
                      textMember(object, "mediaType"),
                      {textMember(platform, "os"), textMember(platform, "architecture"),
                       textMember(platform, "variant")},
                      referenceName(object)};
  }
  failPull(FailureCode::INVALID, what, " has the digest \"", oneLine(digestText, 100),
           "\", which is no SHA-256 digest");
}

}  // namespace

ManifestKind manifestKind(kj::ArrayPtr<const kj::byte> document, kj::StringPtr contentType) {
  Json json = parseJsonObject(document, "the manifest");
  kj::String stated = textMember(json, "mediaType");
  if (stated == "") {
    size_t length = contentType.findFirst(';').orDefault(contentType.size());
    stated = kj::heapString(contentType.slice(0, length));
  }
  KJ_IF_MAYBE (kind, kindOf(stated)) {
    // A document that can be read as both shows one image to a scanner and another to us
    // (OCI distribution-spec, GHSA-mc8v-mgrf-8f4m).
    bool ambiguous =
        json.contains("manifests") && (json.contains("layers") || json.contains("config"));
    if (ambiguous)
      failPull(FailureCode::INVALID, "the manifest is an index and a manifest at once");
    return *kind;
  }
  if (json.contains("manifests") != json.contains("layers")) {
    if (countMember(json, "schemaVersion") == 2) {
      return json.contains("manifests") ? ManifestKind::INDEX : ManifestKind::IMAGE;
    }
  }
  if (countMember(json, "schemaVersion") == 1) {
    failPull(
        FailureCode::UNSUPPORTED,
        "the manifest is of Docker's schema 1, which is no longer supported; push the image anew");
  }
  failPull(FailureCode::UNSUPPORTED, "\"", oneLine(stated, 200), "\" is no image manifest type");
}

kj::Vector<Descriptor> parseIndex(kj::ArrayPtr<const kj::byte> document,
                                  const ManifestLimits& limits) {
  Json json = parseJsonObject(document, "the image index");
  const Json& manifests = listMember(json, "manifests");
  if (manifests.size() > MAX_INDEX_ENTRIES) {
    failPull(FailureCode::INVALID, "the image index has ", manifests.size(),
             " entries; the limit is ", MAX_INDEX_ENTRIES);
  }
  kj::Vector<Descriptor> entries;
  for (const Json& entry : manifests) {
    entries.add(parseDescriptor(entry, limits.maxManifestBytes, "a manifest in the image index"));
  }
  return entries;
}

ImageManifest parseManifest(kj::ArrayPtr<const kj::byte> document, const ManifestLimits& limits) {
  Json json = parseJsonObject(document, "the image manifest");
  ImageManifest manifest{parseDescriptor(objectMember(json, "config"), limits.maxManifestBytes,
                                         "the image configuration"),
                         {}};
  if (manifest.config.mediaType != OCI_CONFIG && manifest.config.mediaType != DOCKER_CONFIG) {
    failPull(FailureCode::UNSUPPORTED,
             "this is no container image: its configuration is of type \"",
             oneLine(manifest.config.mediaType, 200), "\"");
  }
  const Json& layers = listMember(json, "layers");
  if (layers.size() > limits.maxLayers) {
    failPull(FailureCode::INVALID, "the image has ", layers.size(), " layers; the limit is ",
             limits.maxLayers);
  }
  for (const Json& layer : layers) {
    auto descriptor =
        parseDescriptor(layer, limits.maxBlobBytes, kj::str("layer ", manifest.layers.size()));
    if (compressionOfMediaType(descriptor.mediaType) == nullptr) {
      failPull(FailureCode::UNSUPPORTED, "layer ", manifest.layers.size(), " is of media type \"",
               oneLine(descriptor.mediaType, 200), "\", which cannot be unpacked");
    }
    manifest.layers.add(kj::mv(descriptor));
  }
  return manifest;
}

}  // namespace belay::snapshot
