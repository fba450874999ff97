// Images for tests, made on the spot: real tar layers, a real configuration and manifest.
#pragma once

#include <kj/array.h>
#include <kj/string.h>
#include <kj/vector.h>

#include "snapshot/digest.h"
#include "snapshot/image.capnp.h"

namespace belay::snapshot {

// A ustar archive (POSIX.1, pax, "ustar Interchange Format").
class TestTar {
 public:
  void folder(kj::StringPtr path, kj::uint mode = 0755);
  void file(kj::StringPtr path, kj::StringPtr contents, kj::uint mode = 0644);
  // With the end-of-archive blocks.
  kj::Array<kj::byte> finish();

 private:
  kj::Vector<kj::byte> bytes;
  void entry(kj::StringPtr path, char type, kj::uint mode, kj::ArrayPtr<const kj::byte> contents);
};

struct TestBlob {
  Digest digest;
  kj::Array<kj::byte> bytes;
};

// An image of uncompressed layers, each with one file "layer-NAME" of `fileBytes` bytes and a file
// "common" that the topmost layer wins.
struct TestImage {
  kj::Vector<TestBlob> layers;  // bottom first; blob digest and diff id are the same
  TestBlob config;
  TestBlob manifest;

  explicit TestImage(kj::ArrayPtr<const kj::StringPtr> layerNames, size_t fileBytes = 1000);

  // As belay-pull reports it.
  void fill(Image::Builder image) const;
  // Every blob, manifest first.
  kj::Vector<const TestBlob*> blobs() const;
  kj::Array<Digest> chainIds() const;
};

constexpr kj::StringPtr LAYER_MEDIA_TYPE = "application/vnd.oci.image.layer.v1.tar"_kj;

}  // namespace belay::snapshot
