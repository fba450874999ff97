// See image-check.h.
#include "snapshot/image-check.h"

#include <kj/debug.h>
#include <kj/map.h>
#include <kj/vector.h>
#include <sys/stat.h>

#include "snapshot/failure.h"

namespace belay::snapshot {

namespace {

// Registries refuse larger manifests; no configuration comes near it.
constexpr size_t MAX_CONFIG_BYTES = 4u << 20;
// Of a name's tags in one archive.
constexpr kj::uint MAX_NAMES = 100;

Digest digestOf(kj::StringPtr text, kj::StringPtr what) {
  KJ_IF_MAYBE (digest, Digest::tryParse(text)) {
    return *digest;
  }
  fail(Code::FAILED_PRECONDITION, "image: its ", what, " is no digest");
}

uint64_t sizeOf(Store& store, const Digest& blob) {
  KJ_IF_MAYBE (file, store.openBlob(blob)) {
    struct stat stats;
    KJ_SYSCALL(fstat(*file, &stats), blob);
    return stats.st_size;
  }
  fail(Code::FAILED_PRECONDITION, "image: its blob ", blob, " is not in the store");
}

bool isBlobOf(Image::Reader image, const Digest& digest) {
  for (kj::StringPtr blob : image.getBlobs()) {
    if (blob == digest.text()) return true;
  }
  return false;
}

void setNames(Image::Builder image, kj::ArrayPtr<const kj::String> tags,
              kj::ArrayPtr<const kj::String> digests) {
  auto repoTags = image.initRepoTags(tags.size());
  for (kj::uint i = 0; i < tags.size(); ++i)
    repoTags.set(i, tags[i]);
  auto repoDigests = image.initRepoDigests(digests.size());
  for (kj::uint i = 0; i < digests.size(); ++i)
    repoDigests.set(i, digests[i]);
}

// The digest that the registry has for the reference's name.
Digest topDigest(const Reference& reference, Image::Reader reported) {
  KJ_IF_MAYBE (digest, reference.digest) {
    return *digest;
  }
  for (kj::StringPtr name : reported.getRepoDigests()) {
    KJ_IF_MAYBE (at, name.findFirst('@')) {
      return digestOf(name.slice(*at + 1), "repository digest");
    }
  }
  return digestOf(reported.getManifestDigest(), "manifest digest");
}

}  // namespace

kj::Array<LayerSource> checkLayers(Image::Reader image, uint32_t maxLayers) {
  auto layers = image.getLayers();
  if (layers.size() > maxLayers) {
    fail(Code::FAILED_PRECONDITION, "image: it has ", layers.size(), " layers; at most ", maxLayers,
         " are taken");
  }
  kj::Vector<LayerSource> result(layers.size());
  for (auto layer : layers) {
    auto diffId = digestOf(layer.getDiffId(), "diff id");
    kj::Maybe<const Digest&> below;
    if (!result.empty()) below = result.back().chainId;
    auto chainId = chainIdUpon(below, diffId);
    if (layer.getChainId() != chainId.text()) {
      fail(Code::FAILED_PRECONDITION, "image: layer ", result.size(), " has the chain id ", chainId,
           " and not ", layer.getChainId());
    }
    result.add(LayerSource{.blob = digestOf(layer.getBlobDigest(), "layer's blob"),
                           .diffId = diffId,
                           .chainId = chainId,
                           .mediaType = kj::str(layer.getMediaType())});
  }
  return result.releaseAsArray();
}

CheckedImage checkImage(Image::Reader reported, Store& store, uint32_t maxLayers) {
  CheckedImage result;
  result.layers = checkLayers(reported, maxLayers);
  auto id = digestOf(reported.getId(), "id");
  auto manifest = digestOf(reported.getManifestDigest(), "manifest digest");

  // Whatever the image needs, once each.
  kj::HashSet<Digest> seen;
  kj::Vector<Digest> blobs;
  auto need = [&](const Digest& digest) {
    if (seen.contains(digest)) return;
    seen.insert(Digest(digest));
    blobs.add(digest);
  };
  for (kj::StringPtr blob : reported.getBlobs())
    need(digestOf(blob, "blob"));
  need(id);
  need(manifest);
  for (auto& layer : result.layers)
    need(layer.blob);

  result.message = kj::heap<capnp::MallocMessageBuilder>();
  result.message->setRoot(reported);
  auto image = result.message->getRoot<Image>();
  setNames(image, nullptr, nullptr);
  image.setPinned(false);
  image.setConfigJson(store.readBlob(id, MAX_CONFIG_BYTES));
  auto list = image.initBlobs(blobs.size());
  for (kj::uint i = 0; i < blobs.size(); ++i)
    list.set(i, blobs[i].text());

  uint64_t total = sizeOf(store, id);
  for (kj::uint i = 0; i < result.layers.size(); ++i) {
    uint64_t size = sizeOf(store, result.layers[i].blob);
    image.getLayers()[i].setSizeBytes(size);
    total += size;
  }
  for (auto& blob : blobs)
    sizeOf(store, blob);
  image.setSizeBytes(total);
  result.blobs = blobs.releaseAsArray();
  return result;
}

kj::Maybe<kj::String> faultOf(Image::Reader image, Store& store) {
  kj::HashMap<Digest, uint64_t> layerSizes;
  for (auto layer : image.getLayers()) {
    auto blob = digestOf(layer.getBlobDigest(), "layer's blob");
    layerSizes.upsert(blob, layer.getSizeBytes(), [](auto&, auto&&) {});
    auto chainId = digestOf(layer.getChainId(), "chain id");
    if (!store.hasLayer(chainId)) return kj::str("layer ", chainId, " is not in the store");
  }
  for (kj::StringPtr text : image.getBlobs()) {
    auto digest = digestOf(text, "blob");
    if (!store.hasBlob(digest)) return kj::str("blob ", digest, " is not in the store");
    KJ_IF_MAYBE (size, layerSizes.find(digest)) {
      auto there = sizeOf(store, digest);
      if (there != *size) return kj::str("blob ", digest, " has ", there, " of ", *size, " bytes");
    } else if (!(Digest::of(store.readBlob(digest, MAX_CONFIG_BYTES)) == digest)) {
      return kj::str("blob ", digest, " has other content");
    }
  }
  return nullptr;
}

void setPulledNames(Image::Builder image, const Reference& reference, Image::Reader reported) {
  auto top = topDigest(reference, reported);
  if (!isBlobOf(image, top)) {
    fail(Code::FAILED_PRECONDITION, "image ", reference.toString(), ": what the registry sent for ",
         top, " is another manifest");
  }
  kj::Vector<kj::String> tags;
  KJ_IF_MAYBE (name, reference.taggedName()) {
    tags.add(kj::mv(*name));
  }
  setNames(image, tags, kj::arr(reference.nameWith(top)));
}

void setImportedNames(Image::Builder image, kj::StringPtr wanted, Image::Reader reported) {
  kj::Vector<Reference> names;
  for (kj::StringPtr text : reported.getRepoTags()) {
    if (names.size() == MAX_NAMES) break;
    KJ_IF_MAYBE (reference, Reference::tryParse(text)) {
      names.add(kj::mv(*reference));
    }
  }
  if (names.empty() && wanted.size() > 0) names.add(Reference::parse(wanted));

  auto manifest = digestOf(reported.getManifestDigest(), "manifest digest");
  kj::Vector<kj::String> tags;
  kj::Vector<kj::String> digests;
  for (auto& reference : names) {
    KJ_IF_MAYBE (name, reference.taggedName()) {
      tags.add(kj::mv(*name));
    }
    digests.add(reference.nameWith(manifest));
  }
  setNames(image, tags, digests);
}

}  // namespace belay::snapshot
