// From a top document to a complete image: what fetch and import have in common. Where documents
// and blobs come from is the ImageSource's matter.
#pragma once

#include <kj/async.h>

#include "snapshot/pull/image-builder.h"
#include "snapshot/pull/ingest-session.h"
#include "snapshot/pull/manifest.h"

namespace belay::snapshot {

// A manifest or an index, as it is in the store.
struct ManifestDocument {
  Digest digest;
  kj::Array<const kj::byte> bytes;
  kj::String mediaType;  // as the source says; the document itself may say more
};

class ImageSource {
 public:
  // A manifest that an index lists; it is in the store when the promise resolves.
  virtual kj::Promise<ManifestDocument> manifest(const Descriptor& descriptor) = 0;

  // A configuration or layer, open for reading from the store. The descriptor outlives the promise.
  virtual kj::Promise<kj::AutoCloseFd> blob(const Descriptor& descriptor) = 0;
};

// What to call the image; repoDigests are the bare names, to which the top document's digest is
// added.
struct ImageNames {
  kj::Vector<kj::String> tags;
  kj::Vector<kj::String> repositories;
};

// Blobs of one image on their way at the same time, as the incumbents have it.
constexpr int PARALLEL_BLOBS = 3;

// Chooses the manifest for this machine, brings configuration and layers, and reports the image by
// `complete`. Throws pull errors; the caller reports those by `failed`. All arguments by reference
// outlive the promise.
kj::Promise<void> assembleImage(IngestSession& session, ImageSource& source, ManifestDocument top,
                                ImageNames names, PullRequest::Reader request);

ManifestLimits limitsOf(PullRequest::Reader request);

}  // namespace belay::snapshot
