// The content store: blobs by digest, unpacked layers by chain id, and downloads that can be
// resumed.
//
// Below one root folder:
//
//     blobs/sha256/HEX      finished blobs, never changed again
//     ingest/HEX            downloads, growing; kept when a pull fails, so that the next one
//     resumes layers/CHAINHEX/fs    unpacked layers, in overlay's form (whiteouts as 0:0 devices)
//     layers/CHAINHEX/usage "INODES BYTES"
//     staging/N/fs          layers being unpacked; whatever is there at start is refuse
//     empty/                the lower layer of images that have none
//     trash/                what is being deleted
//     boot                  the boot of the machine in which the store was used last
//
// A name in blobs/ or layers/ is there whole or not at all: both are reached by rename only. What a
// power cut may still take are file contents; hence sync() before an image is recorded, and nothing
// that no record names is believed after a restart of the machine.
#pragma once

#include <kj/async.h>
#include <kj/io.h>
#include <kj/map.h>
#include <kj/string.h>
#include <kj/vector.h>

#include "snapshot/digest.h"
#include "snapshot/helpers.h"
#include "snapshot/trash.h"

namespace belay::snapshot {

class Store {
 public:
  // Opens the store in `path` (absolute), making it if it is not there. Not two at once on one
  // path: staging/ is swept here.
  Store(kj::StringPtr path, Helpers& helpers);
  ~Store() noexcept(false);
  KJ_DISALLOW_COPY_AND_MOVE(Store);

  // --- blobs

  bool hasBlob(const Digest& digest);
  // Open for reading; null when absent.
  kj::Maybe<kj::AutoCloseFd> openBlob(const Digest& digest);
  // The whole of a small blob; throws FAILED_PRECONDITION when it is longer than `limitBytes`.
  kj::Array<kj::byte> readBlob(const Digest& digest, size_t limitBytes);

  // A download. Nobody else may have this digest's file open for writing, so ask for it only when
  // no other download of it runs here; one that a dead belayd's process still writes is put aside.
  struct Ingest {
    kj::AutoCloseFd file;  // write-only, positioned at its end
    uint64_t offsetBytes;  // already there
  };
  kj::Promise<Ingest> openIngest(Digest digest);

  // Hashes the download, then makes it a blob. The writer must have closed every descriptor of the
  // file before: this is verified (fcntl(2), F_SETLEASE), or the bytes could change after the hash.
  // When the digest differs the download is removed, and FAILED_PRECONDITION names both digests.
  // With a size other than `sizeBytes` likewise.
  kj::Promise<void> commitBlob(Digest digest, uint64_t sizeBytes);

  // Resolves once the store has the blob; at once if it does. Nothing is started by asking.
  kj::Promise<void> whenBlobArrives(const Digest& digest);

  // --- layers

  bool hasLayer(const Digest& chainId);
  // Absolute path of the layer's root, for overlay's lowerdir. Does not look whether it exists.
  kj::String layerPath(const Digest& chainId);
  // The layer's root as an O_PATH descriptor; null when absent.
  kj::Maybe<kj::AutoCloseFd> openLayer(const Digest& chainId);
  // Absolute path of a folder that is always empty: the lower layer of images that have none.
  kj::String emptyLayerPath();

  // A layer being made. Dropped before it was committed, it goes to the trash.
  class Staging {
   public:
    ~Staging() noexcept(false);
    KJ_DISALLOW_COPY_AND_MOVE(Staging);
    // The folder to unpack into.
    int folder() const { return fs; }

   private:
    friend class Store;
    Staging(Store& store, kj::String name, kj::AutoCloseFd fs);
    Store& store;
    kj::String name;  // in staging/; empty once committed
    kj::AutoCloseFd fs;
  };
  kj::Own<Staging> newStaging();
  // Makes it the layer of this chain id. If there is one already that one stays.
  void commitLayer(Staging& staging, const Digest& chainId, Usage usage);

  // --- all of it

  // Keeps content from collect() while no record names it yet. Dropping it ends the protection.
  class Lease {
   public:
    ~Lease() noexcept(false);
    KJ_DISALLOW_COPY_AND_MOVE(Lease);
    void addBlob(const Digest& digest) {
      blobs.upsert(digest, [](auto&, auto&&) {});
    }
    void addLayer(const Digest& chainId) {
      layers.upsert(chainId, [](auto&, auto&&) {});
    }

   private:
    friend class Store;
    explicit Lease(Store& store);
    Store& store;
    kj::HashSet<Digest> blobs;
    kj::HashSet<Digest> layers;
    static void add(kj::HashSet<Digest>& set, const Digest& digest) {
      if (!set.contains(digest)) set.insert(Digest(digest));
    }
  };
  kj::Own<Lease> newLease();

  // Makes everything so far survive a power cut (one syncfs(2), in a helper). To be awaited between
  // a pull and the commit of its record.
  kj::Promise<void> sync();

  struct Collected {
    uint blobs = 0;
    uint layers = 0;
    uint downloads = 0;
    uint64_t bytes = 0;  // of blobs and layers
  };
  // What to do with content of the last day that nothing names: a pull that a dead belayd had begun
  // left it, and the next try of that pull finds it there.
  enum class Recent { TAKE, KEEP };
  // Throws away all content that is neither listed nor leased, and downloads untouched for a day.
  // The first time after a restart of the machine also all that is recent, whatever `recent` says,
  // and every download: of what sync() was not awaited for, a power cut may have left names without
  // contents. Space is free once whenTrashIsEmpty() resolves.
  Collected collect(kj::ArrayPtr<const Digest> liveBlobs, kj::ArrayPtr<const Digest> liveLayers,
                    Recent recent = Recent::TAKE);

  // It was last used in another boot of the machine, and collect() was not called since.
  bool isOfAnotherBoot() const { return ofAnotherBoot; }

  // Of all blobs and layers. Counted as things come and go, so it costs nothing.
  Usage usage() const { return total; }

  // Absolute.
  kj::StringPtr path() const { return rootPath; }

  kj::Promise<void> whenTrashIsEmpty() { return trash.whenEmpty(); }

 private:
  kj::String rootPath;
  Helpers& helpers;
  kj::AutoCloseFd root, blobs, ingest, layers, staging;
  Trash trash;
  Usage total;
  kj::HashMap<Digest, Usage> layerUsage;
  kj::HashSet<Lease*> leases;
  kj::HashMap<Digest, kj::Vector<kj::Own<kj::PromiseFulfiller<void>>>> awaitedBlobs;
  uint64_t stagingCounter = 0;
  bool ofAnotherBoot;

  void writeBoot();
  void sweepStaging();
  void countAll();
  void takeDownloads(const kj::HashSet<Digest>& live, Collected& collected);
};

}  // namespace belay::snapshot
