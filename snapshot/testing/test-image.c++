// See test-image.h.
#include "snapshot/testing/test-image.h"

#include <kj/debug.h>
#include <stdio.h>
#include <string.h>

namespace belay::snapshot {

namespace {

constexpr size_t BLOCK = 512;

TestBlob blobOf(kj::Array<kj::byte> bytes) {
  auto digest = Digest::of(bytes);
  return {digest, kj::mv(bytes)};
}

TestBlob blobOf(kj::StringPtr text) {
  return blobOf(kj::heapArray(text.asBytes()));
}

TestBlob layerBlob(kj::StringPtr name, size_t fileBytes) {
  TestTar tar;
  tar.folder("./");
  tar.folder("folder/");
  tar.file(kj::str("folder/layer-", name), kj::str(kj::repeat(name[0], fileBytes)));
  tar.file("common", name);
  return blobOf(tar.finish());
}

kj::String descriptor(kj::StringPtr mediaType, const TestBlob& blob) {
  return kj::str("{\"mediaType\":\"", mediaType, "\",\"digest\":\"", blob.digest,
                 "\",\"size\":", blob.bytes.size(), "}");
}

}  // namespace

void TestTar::folder(kj::StringPtr path, kj::uint mode) {
  entry(path, '5', mode, nullptr);
}

void TestTar::file(kj::StringPtr path, kj::StringPtr contents, kj::uint mode) {
  entry(path, '0', mode, contents.asBytes());
}

void TestTar::entry(kj::StringPtr path, char type, kj::uint mode,
                    kj::ArrayPtr<const kj::byte> contents) {
  char header[BLOCK] = {};
  KJ_REQUIRE(path.size() <= 100);
  memcpy(header, path.begin(), path.size());
  snprintf(header + 100, 8, "%07o", mode);
  snprintf(header + 108, 8, "%07o", 0);
  snprintf(header + 116, 8, "%07o", 0);
  snprintf(header + 124, 12, "%011zo", contents.size());
  snprintf(header + 136, 12, "%011o", 1'700'000'000u);
  header[156] = type;
  memcpy(header + 257, "ustar\00000", 8);
  memset(header + 148, ' ', 8);
  unsigned sum = 0;
  for (char c : header)
    sum += static_cast<unsigned char>(c);
  snprintf(header + 148, 8, "%06o", sum);
  bytes.addAll(kj::arrayPtr(reinterpret_cast<const kj::byte*>(header), BLOCK));
  bytes.addAll(contents);
  while (bytes.size() % BLOCK != 0)
    bytes.add(0);
}

kj::Array<kj::byte> TestTar::finish() {
  for (size_t i = 0; i < 2 * BLOCK; ++i)
    bytes.add(0);
  return bytes.releaseAsArray();
}

TestImage::TestImage(kj::ArrayPtr<const kj::StringPtr> layerNames, size_t fileBytes)
    : config(blobOf(""_kj)), manifest(blobOf(""_kj)) {
  kj::Vector<kj::String> diffIds;
  kj::Vector<kj::String> descriptors;
  for (kj::StringPtr name : layerNames) {
    layers.add(layerBlob(name, fileBytes));
    diffIds.add(kj::str('"', layers.back().digest, '"'));
    descriptors.add(descriptor(LAYER_MEDIA_TYPE, layers.back()));
  }
  config = blobOf(
      kj::str("{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Cmd\":[\"/bin/sh\"]},"
              "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[",
              kj::strArray(diffIds, ","), "]}}"));
  manifest = blobOf(kj::str("{\"schemaVersion\":2,\"config\":",
                            descriptor("application/vnd.oci.image.config.v1+json", config),
                            ",\"layers\":[", kj::strArray(descriptors, ","), "]}"));
}

kj::Vector<const TestBlob*> TestImage::blobs() const {
  kj::Vector<const TestBlob*> result;
  result.add(&manifest);
  result.add(&config);
  for (auto& layer : layers)
    result.add(&layer);
  return result;
}

kj::Array<Digest> TestImage::chainIds() const {
  kj::Vector<Digest> diffIds;
  for (auto& layer : layers)
    diffIds.add(layer.digest);
  return belay::snapshot::chainIds(diffIds);
}

void TestImage::fill(Image::Builder image) const {
  image.setId(config.digest.text());
  image.setManifestDigest(manifest.digest.text());
  image.initRepoDigests(1).set(0, kj::str("told.example/name@", manifest.digest));
  auto chain = chainIds();
  auto list = image.initLayers(layers.size());
  for (kj::uint i = 0; i < layers.size(); ++i) {
    list[i].setBlobDigest(layers[i].digest.text());
    list[i].setDiffId(layers[i].digest.text());
    list[i].setChainId(chain[i].text());
    list[i].setMediaType(LAYER_MEDIA_TYPE);
  }
  image.initConfig().initCmd(1).set(0, "/bin/sh");
  auto all = blobs();
  auto names = image.initBlobs(all.size());
  for (kj::uint i = 0; i < all.size(); ++i)
    names.set(i, all[i]->digest.text());
}

}  // namespace belay::snapshot
