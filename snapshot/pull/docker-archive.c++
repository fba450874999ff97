// What `docker save` writes; see import.h.
#include <kj/debug.h>

#include "snapshot/pull/decompress.h"
#include "snapshot/pull/import.h"
#include "snapshot/pull/json.h"
#include "snapshot/pull/pipe-io.h"
#include "snapshot/pull/pull-error.h"
#include "snapshot/pull/sha256.h"

namespace belay::snapshot {

namespace {

constexpr kj::StringPtr MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"_kj;
constexpr kj::StringPtr CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"_kj;
constexpr kj::StringPtr TAR_TYPE = "application/vnd.oci.image.layer.v1.tar"_kj;
constexpr kj::StringPtr GZIP_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"_kj;
constexpr kj::StringPtr ZSTD_TYPE = "application/vnd.oci.image.layer.v1.tar+zstd"_kj;

Json jsonOf(const Descriptor& descriptor) {
  return {{"mediaType", descriptor.mediaType.cStr()},
          {"digest", descriptor.digest.text().cStr()},
          {"size", descriptor.sizeBytes}};
}

// manifest.json is a list; the parser wants an object.
Json parseList(kj::ArrayPtr<const kj::byte> bytes) {
  kj::Vector<kj::byte> wrapped(bytes.size() + 16);
  wrapped.addAll("{\"images\":"_kj.asBytes());
  wrapped.addAll(bytes);
  wrapped.add('}');
  return parseJsonObject(wrapped, "the archive's manifest.json");
}

bool hasTag(const Json& image, kj::StringPtr wanted) {
  for (auto& tag : textListMember(image, "RepoTags")) {
    if (tag == wanted) return true;
  }
  return false;
}

const Json& chooseImage(const Json& images, kj::StringPtr wanted) {
  if (images.size() == 1) return images.front();
  for (const Json& image : images) {
    if (wanted != "" && hasTag(image, wanted)) return image;
  }
  failPull(wanted == "" ? FailureCode::INVALID : FailureCode::NOT_FOUND, "the archive has ",
           images.size(), " images, and ",
           wanted == "" ? kj::str("no name says which one is meant")
                        : kj::str("none of them is ", wanted));
}

}  // namespace

kj::Promise<void> DockerArchive::run() {
  uint64_t maxBytes = request.getMaxManifestBytes();
  Json document = parseList(archive.read(archive.require("manifest.json"), maxBytes));
  const Json& image = chooseImage(listMember(document, "images"), request.getArchiveTag());
  if (!image.is_object()) failPull(FailureCode::INVALID, "manifest.json is malformed");

  auto layerNames = textListMember(image, "Layers");
  if (layerNames.size() > request.getMaxLayers()) {
    failPull(FailureCode::INVALID, "the image has ", layerNames.size(), " layers; the limit is ",
             request.getMaxLayers());
  }
  Json layers = Json::array();
  for (auto& name : layerNames) {
    layers.push_back(jsonOf(describe(name, layerType(archive.require(name)))));
  }
  Json manifest{{"schemaVersion", 2},
                {"mediaType", MANIFEST_TYPE.cStr()},
                {"config", jsonOf(describe(textMember(image, "Config"), CONFIG_TYPE))},
                {"layers", kj::mv(layers)}};
  std::string text = manifest.dump();
  auto bytes = kj::heapArray<kj::byte>(kj::arrayPtr(text.data(), text.size()).asBytes());
  ManifestDocument top{Digest::of(bytes), kj::mv(bytes), kj::heapString(MANIFEST_TYPE)};
  co_await session.store(top.digest, top.bytes);

  ImageNames names;
  names.tags = textListMember(image, "RepoTags");
  co_await assembleImage(session, *this, kj::mv(top), kj::mv(names), request);
}

// Hashes a member. The archive says nothing of digests that could be compared; belayd's own hasher
// goes over the bytes once more as they enter the store.
Descriptor DockerArchive::describe(kj::StringPtr name, kj::StringPtr mediaType) {
  auto member = archive.require(name);
  if (member.sizeBytes > request.getMaxBlobBytes()) {
    failPull(FailureCode::INVALID, "a layer of the archive has ", member.sizeBytes,
             " bytes; the limit is ", request.getMaxBlobBytes());
  }
  Sha256 hash;
  for (uint64_t done = 0; done < member.sizeBytes;) {
    uint64_t step = kj::min(uint64_t{PIPE_CHUNK_BYTES}, member.sizeBytes - done);
    hash.update(archive.read({member.offset + done, step}, step));
    done += step;
  }
  Digest digest = KJ_ASSERT_NONNULL(Digest::tryFromHex(hash.finishHex()));
  members.upsert(digest, member);
  return {digest, member.sizeBytes, kj::heapString(mediaType), {}, {}};
}

kj::StringPtr DockerArchive::layerType(const ArchiveIndex::Member& member) {
  uint64_t beginning = kj::min(member.sizeBytes, uint64_t{4});
  switch (compressionOfContent(archive.read({member.offset, beginning}, beginning))) {
    case Compression::NONE:
      return TAR_TYPE;
    case Compression::GZIP:
      return GZIP_TYPE;
    case Compression::ZSTD:
      return ZSTD_TYPE;
  }
  KJ_UNREACHABLE;
}

kj::Promise<ManifestDocument> DockerArchive::manifest(const Descriptor&) {
  failPull(FailureCode::INTERNAL, "a docker archive has no index");
}

kj::Promise<kj::AutoCloseFd> DockerArchive::blob(const Descriptor& descriptor) {
  KJ_IF_MAYBE (file, co_await session.open(descriptor.digest, descriptor.sizeBytes)) {
    co_return kj::mv(*file);
  }
  auto& member = KJ_REQUIRE_NONNULL(members.find(descriptor.digest));
  archive.copy(member, session.partial(descriptor.digest).file);
  session.progress(member.sizeBytes);
  co_return co_await session.done(descriptor.digest);
}

}  // namespace belay::snapshot
