// Brings images into the store: from a registry, or from an archive. Everything that reads
// strangers' bytes runs in belay-pull processes; what is here starts them, hands them files,
// verifies by digest what they brought, and puts it into its place.
#pragma once

#include <capnp/message.h>
#include <kj/async.h>
#include <kj/string.h>

#include "snapshot/credentials.h"
#include "snapshot/downloads.h"
#include "snapshot/helpers.h"
#include "snapshot/image-check.h"
#include "snapshot/image.capnp.h"
#include "snapshot/layer-unpacker.h"
#include "snapshot/store.h"

namespace belay::snapshot {

// An image in the store that no record names yet. Its content is safe from Store::collect() for as
// long as this object lives: keep it until the record is committed.
class PulledImage {
 public:
  PulledImage(kj::Own<capnp::MallocMessageBuilder> message, kj::Own<Store::Lease> lease)
      : message(kj::mv(message)), lease(kj::mv(lease)) {}

  // Valid as long as this object is.
  Image::Reader image() { return message->getRoot<Image>().asReader(); }

 private:
  kj::Own<capnp::MallocMessageBuilder> message;
  kj::Own<Store::Lease> lease;
};

struct PullerOptions {
  // Folders as containerd's certs.d, the first that knows a registry wins; read at each pull.
  kj::Array<kj::String> registryConfigFolders;
  // What image indexes are searched for; the Go names, as images use them.
  kj::String architecture = kj::str("amd64");
  kj::String os = kj::str("linux");
  kj::String variant;

  uint64_t maxManifestBytes = 4u << 20;  // registries refuse more than 4 MiB
  uint64_t maxBlobBytes = 64ull << 30;   // one layer
  uint32_t maxLayers = 127;              // what Docker builds at most; overlay's limit is 500
  uint64_t stallTimeoutMs = 60'000;      // no byte for so long fails a transfer
  uint parallelUnpacks = 3;              // layers at once, over all pulls
};

class Puller {
 public:
  // `store` and `helpers` outlive this object.
  Puller(Store& store, Helpers& helpers, PullerOptions options);
  ~Puller() noexcept(false);
  KJ_DISALLOW_COPY_AND_MOVE(Puller);

  // Pulls from the reference's registry or its mirrors. The registry is always asked for the
  // manifest, so that the credentials are verified, but what the store has is not downloaded again.
  // Several pulls may run at once: they share downloads and layers in the making.
  //
  // repoTags and repoDigests of the result name this reference alone. Nothing is synced and nothing
  // recorded: call Store::sync(), commit the record, then drop the result.
  //
  // Throws, among others, NOT_FOUND (no such image), UNAUTHENTICATED, UNAVAILABLE (registry or
  // network: try again), DEADLINE_EXCEEDED (stalled), INVALID_ARGUMENT (reference),
  // FAILED_PRECONDITION (what came is no image, or has the wrong digest), RESOURCE_EXHAUSTED
  // (disk), INTERNAL (belay-pull died). Dropping the promise kills all processes of this pull.
  // Either way nothing is left but whole blobs and layers, and downloads that the next pull
  // resumes.
  kj::Promise<kj::Own<PulledImage>> pull(kj::String reference, RegistryCredentials credentials);

  // Brings an image out of an OCI image layout in a tar file (`archive`, open for reading).
  // `wanted` chooses by name where the archive holds several; empty takes the only one.
  // repoTags are the names the archive gives, fully qualified, or `wanted`.
  kj::Promise<kj::Own<PulledImage>> importArchive(kj::AutoCloseFd archive, kj::String wanted);

 private:
  Store& store;
  Helpers& helpers;
  PullerOptions options;
  LayerUnpacker unpacker;
  Downloads downloads;

  kj::Promise<kj::Own<PulledImage>> finish(CheckedImage checked, kj::Own<Store::Lease> lease);
};

}  // namespace belay::snapshot
