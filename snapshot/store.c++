// See store.h.
#include "snapshot/store.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "failpoint/failpoint.h"
#include "snapshot/failure.h"
#include "snapshot/sys/boot.h"
#include "snapshot/sys/file.h"

namespace belay::snapshot {

namespace {

constexpr mode_t PRIVATE = 0700;
// On the way to layers, which containers in user namespaces must be able to pass.
constexpr mode_t PASSABLE = 0711;

constexpr size_t MAX_USAGE_FILE_BYTES = 64;
constexpr size_t MAX_BOOT_FILE_BYTES = 64;
constexpr time_t STALE_SECONDS = 24 * 3600;  // content that nobody came back for

// A file in use is looked at twice.
enum class Look { FIRST, SECOND };

kj::String usageLine(Usage usage) {
  return kj::str(usage.inodes, ' ', usage.bytes, '\n');
}

// What a layer's usage file says; nothing for one that is damaged, since it is but a statistic.
Usage readUsage(int layersFolder, kj::StringPtr hex) {
  Usage usage;
  KJ_IF_MAYBE (text, tryReadFile(layersFolder, kj::str(hex, "/usage"), MAX_USAGE_FILE_BYTES)) {
    unsigned long long inodes = 0;
    unsigned long long bytes = 0;
    if (sscanf(text->cStr(), "%llu %llu", &inodes, &bytes) == 2) {
      usage = Usage{.bytes = bytes, .inodes = inodes};
    }
  }
  return usage;
}

// Whether the entry's contents were last changed longer ago than anybody would come back for.
bool isStale(int folder, kj::StringPtr name) {
  KJ_IF_MAYBE (stats, tryStat(folder, name)) {
    return time(nullptr) - stats->st_mtime >= STALE_SECONDS;
  }
  return false;
}

bool isOfThisBoot(int root) {
  KJ_IF_MAYBE (text, tryReadFile(root, "boot", MAX_BOOT_FILE_BYTES)) {
    return *text == bootId();
  }
  return false;
}

kj::HashSet<Digest> setOf(kj::ArrayPtr<const Digest> digests) {
  kj::HashSet<Digest> result;
  for (const Digest& digest : digests) {
    if (!result.contains(digest)) result.insert(Digest(digest));
  }
  return result;
}

// Proves that nobody has the file open for writing: the kernel grants a read lease only then
// (fcntl(2), F_SETLEASE). From now on nobody can, as only belay's own user may open it by name.
bool isWriterless(int file) {
  if (fcntl(file, F_SETLEASE, F_RDLCK) < 0) {
    if (errno == EAGAIN) return false;
    KJ_FAIL_SYSCALL("fcntl(F_SETLEASE)", errno);
  }
  KJ_SYSCALL(fcntl(file, F_SETLEASE, F_UNLCK));
  return true;
}

}  // namespace

Store::Store(kj::StringPtr path, Helpers& helpers)
    : rootPath(kj::str(path)),
      helpers(helpers),
      root(makeFolders(path, PASSABLE)),
      blobs(makeFolder(makeFolder(root, "blobs", PRIVATE), "sha256", PRIVATE)),
      ingest(makeFolder(root, "ingest", PRIVATE)),
      layers(makeFolder(root, "layers", PASSABLE)),
      staging(makeFolder(root, "staging", PRIVATE)),
      trash(helpers, makeFolder(root, "trash", PRIVATE)),
      ofAnotherBoot(!isOfThisBoot(root)) {
  makeFolder(root, "empty", 0755);
  sweepStaging();
  countAll();
}

Store::~Store() noexcept(false) = default;

// A disk that is full must not keep belayd from starting; the next one then sweeps again.
void Store::writeBoot() {
  ofAnotherBoot = false;
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() {
                 trash.take(root, "boot.new");
                 writeNewFile(root, "boot.new", bootId(), 0600);
                 KJ_SYSCALL(renameat(root, "boot.new", root, "boot"));
               })) {
    KJ_LOG(WARNING, "the store does not know in which boot it is used", rootPath, *exception);
  }
}

void Store::sweepStaging() {
  for (auto& name : namesIn(staging))
    trash.take(staging, name);
}

void Store::countAll() {
  for (auto& name : namesIn(blobs)) {
    KJ_IF_MAYBE (stats, tryStat(blobs, name)) {
      total.bytes += stats->st_size;
      total.inodes += 1;
    }
  }
  for (auto& name : namesIn(layers)) {
    KJ_IF_MAYBE (chainId, Digest::tryFromHex(name)) {
      Usage usage = readUsage(layers, name);
      total.bytes += usage.bytes;
      total.inodes += usage.inodes;
      layerUsage.insert(*chainId, usage);
    }
  }
}

// ---- blobs

bool Store::hasBlob(const Digest& digest) {
  return tryStat(blobs, digest.hex()) != nullptr;
}

kj::Maybe<kj::AutoCloseFd> Store::openBlob(const Digest& digest) {
  return tryOpenAt(blobs, digest.hex(), O_RDONLY | O_NOFOLLOW);
}

kj::Array<kj::byte> Store::readBlob(const Digest& digest, size_t limitBytes) {
  KJ_IF_MAYBE (text, tryReadFile(blobs, digest.hex(), limitBytes)) {
    return kj::heapArray(text->asBytes());
  }
  fail(Code::FAILED_PRECONDITION, "blob ", digest, " is not in the store");
}

kj::Promise<Store::Ingest> Store::openIngest(Digest digest) {
  for (auto look = Look::FIRST;; look = Look::SECOND) {
    kj::AutoCloseFd file =
        openAt(ingest, digest.hex(), O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0600);
    // The lock belongs to this opening of the file and goes to the writing process with it. So it
    // tells of a process that a killed belayd left behind and that still writes.
    if (flock(file, LOCK_EX | LOCK_NB) == 0) {
      off_t end;
      KJ_SYSCALL(end = lseek(file, 0, SEEK_END), digest);
      co_return Ingest{kj::mv(file), static_cast<uint64_t>(end)};
    }
    if (errno != EWOULDBLOCK) KJ_FAIL_SYSCALL("flock", errno, digest);
    if (look == Look::FIRST) {
      // Or it is one of our children on its way to exec.
      co_await helpers.whenAllStarted();
    } else {
      trash.take(ingest, digest.hex());
    }
  }
}

kj::Promise<void> Store::commitBlob(Digest digest, uint64_t sizeBytes) {
  kj::AutoCloseFd file = openAt(ingest, digest.hex(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  // A child of ours on its way to exec still has all that we had open: it counts only once it runs.
  if (!isWriterless(file)) co_await helpers.whenAllStarted();
  if (!isWriterless(file)) {
    fail(Code::INTERNAL, "blob ", digest, ": belay-pull said it is complete and still writes it");
  }
  auto hashed = co_await helpers.hash(file);
  if (hashed.bytes != sizeBytes || !(hashed.digest == digest)) {
    trash.take(ingest, digest.hex());
    fail(Code::FAILED_PRECONDITION, "blob ", digest, " of ", sizeBytes, " bytes: what came has ",
         hashed.bytes, " bytes and the digest ", hashed.digest);
  }
  FAILPOINT("belayd.pull-image/before-blob");
  KJ_SYSCALL(renameat(ingest, digest.hex().cStr(), blobs, digest.hex().cStr()), digest);
  FAILPOINT("belayd.pull-image/after-blob");
  total.bytes += sizeBytes;
  total.inodes += 1;
  KJ_IF_MAYBE (waiting, awaitedBlobs.find(digest)) {
    for (auto& fulfiller : *waiting)
      fulfiller->fulfill();
    awaitedBlobs.erase(digest);
  }
}

kj::Promise<void> Store::whenBlobArrives(const Digest& digest) {
  if (hasBlob(digest)) return kj::READY_NOW;
  auto waiter = kj::newPromiseAndFulfiller<void>();
  auto& waiting = awaitedBlobs.findOrCreate(digest, [&]() {
    return kj::HashMap<Digest, kj::Vector<kj::Own<kj::PromiseFulfiller<void>>>>::Entry{digest, {}};
  });
  // Those who went away make room, or a blob that never comes would gather them.
  kj::Vector<kj::Own<kj::PromiseFulfiller<void>>> present;
  for (auto& fulfiller : waiting) {
    if (fulfiller->isWaiting()) present.add(kj::mv(fulfiller));
  }
  present.add(kj::mv(waiter.fulfiller));
  waiting = kj::mv(present);
  return kj::mv(waiter.promise);
}

// ---- layers

bool Store::hasLayer(const Digest& chainId) {
  return tryStat(layers, chainId.hex()) != nullptr;
}

kj::String Store::layerPath(const Digest& chainId) {
  return kj::str(rootPath, "/layers/", chainId.hex(), "/fs");
}

kj::Maybe<kj::AutoCloseFd> Store::openLayer(const Digest& chainId) {
  return tryOpenAt(layers, kj::str(chainId.hex(), "/fs"), O_PATH | O_DIRECTORY | O_NOFOLLOW);
}

kj::String Store::emptyLayerPath() {
  return kj::str(rootPath, "/empty");
}

Store::Staging::Staging(Store& store, kj::String name, kj::AutoCloseFd fs)
    : store(store), name(kj::mv(name)), fs(kj::mv(fs)) {}

Store::Staging::~Staging() noexcept(false) {
  if (name.size() == 0) return;
  KJ_IF_MAYBE (exception,
               kj::runCatchingExceptions([&]() { store.trash.take(store.staging, name); })) {
    // Often the disk's failure is why we are here; the next start sweeps what is left.
    KJ_LOG(ERROR, "a half-made layer stays in staging", name, *exception);
  }
}

kj::Own<Store::Staging> Store::newStaging() {
  auto name = kj::str(stagingCounter++);
  // Swept at start, so the number is free.
  KJ_SYSCALL(mkdirat(staging, name.cStr(), PASSABLE), name);
  kj::AutoCloseFd folder = openAt(staging, name, O_PATH | O_DIRECTORY | O_NOFOLLOW);
  // What an image's root folder is when no layer says otherwise.
  kj::AutoCloseFd fs = makeFolder(folder, "fs", 0755);
  KJ_SYSCALL(fchmod(fs, 0755));
  return kj::Own<Staging>(new Staging(*this, kj::mv(name), kj::mv(fs)),
                          kj::_::HeapDisposer<Staging>::instance);
}

void Store::commitLayer(Staging& made, const Digest& chainId, Usage usage) {
  kj::AutoCloseFd folder = openAt(staging, made.name, O_PATH | O_DIRECTORY | O_NOFOLLOW);
  writeNewFile(folder, "usage", usageLine(usage), 0600);
  FAILPOINT("belayd.pull-image/before-layer");
  KJ_SYSCALL_HANDLE_ERRORS(renameat(staging, made.name.cStr(), layers, chainId.hex().cStr())) {
    case EEXIST:
    case ENOTEMPTY:
      // The same content by definition; `made` goes to the trash.
      return;
    default:
      KJ_FAIL_SYSCALL("renameat", error, chainId);
  }
  made.name = nullptr;
  FAILPOINT("belayd.pull-image/after-layer");
  layerUsage.insert(chainId, usage);
  total.bytes += usage.bytes;
  total.inodes += usage.inodes;
}

// ---- all of it

Store::Lease::Lease(Store& store) : store(store) {
  store.leases.insert(this);
}
Store::Lease::~Lease() noexcept(false) {
  store.leases.eraseMatch(this);
}

kj::Own<Store::Lease> Store::newLease() {
  return kj::Own<Lease>(new Lease(*this), kj::_::HeapDisposer<Lease>::instance);
}

kj::Promise<void> Store::sync() {
  return helpers.sync(root);
}

Store::Collected Store::collect(kj::ArrayPtr<const Digest> liveBlobs,
                                kj::ArrayPtr<const Digest> liveLayers, Recent recent) {
  if (ofAnotherBoot) recent = Recent::TAKE;
  auto keptBlobs = setOf(liveBlobs);
  auto keptLayers = setOf(liveLayers);
  for (Lease* lease : leases) {
    for (const Digest& digest : lease->blobs)
      Lease::add(keptBlobs, digest);
    for (const Digest& chainId : lease->layers)
      Lease::add(keptLayers, chainId);
  }

  Collected collected;
  for (auto& name : namesIn(blobs)) {
    KJ_IF_MAYBE (digest, Digest::tryFromHex(name)) {
      if (keptBlobs.contains(*digest)) continue;
      if (recent == Recent::KEEP && !isStale(blobs, name)) continue;
      uint64_t size = KJ_ASSERT_NONNULL(tryStat(blobs, name)).st_size;
      trash.take(blobs, name);
      collected.blobs += 1;
      collected.bytes += size;
      total.inodes -= 1;
      total.bytes -= size;
    }
  }
  for (auto& name : namesIn(layers)) {
    KJ_IF_MAYBE (chainId, Digest::tryFromHex(name)) {
      if (keptLayers.contains(*chainId)) continue;
      if (recent == Recent::KEEP && !isStale(layers, name)) continue;
      trash.take(layers, name);
      collected.layers += 1;
      KJ_IF_MAYBE (usage, layerUsage.find(*chainId)) {
        collected.bytes += usage->bytes;
        total.inodes -= usage->inodes;
        total.bytes -= usage->bytes;
      }
      layerUsage.erase(*chainId);
    }
  }
  takeDownloads(keptBlobs, collected);
  if (ofAnotherBoot) writeBoot();
  return collected;
}

void Store::takeDownloads(const kj::HashSet<Digest>& live, Collected& collected) {
  for (auto& name : namesIn(ingest)) {
    KJ_IF_MAYBE (digest, Digest::tryFromHex(name)) {
      if (live.contains(*digest) && !ofAnotherBoot) continue;
    }
    if (!ofAnotherBoot && !isStale(ingest, name)) continue;
    trash.take(ingest, name);
    collected.downloads += 1;
  }
}

}  // namespace belay::snapshot
