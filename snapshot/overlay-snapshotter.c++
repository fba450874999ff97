// See overlay-snapshotter.h.
#include "snapshot/overlay-snapshotter.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot/failure.h"
#include "snapshot/sys/file.h"

namespace belay::snapshot {

namespace {

// Room for overlay's limit of 500 layers, a line of a digest each.
constexpr size_t MAX_LAYERS_FILE_BYTES = 64 * 1024;

class OverlaySnapshotter final : public Snapshotter {
 public:
  OverlaySnapshotter(kj::StringPtr path, Store& store, Helpers& helpers, Durability durability)
      : path(kj::str(path)),
        store(store),
        helpers(helpers),
        durability(durability),
        root(makeFolders(path, 0711)),
        snapshots(makeFolder(root, "snapshots", 0711)),
        trash(helpers, makeFolder(root, "trash", 0700)) {
    // Half-made ones of a belayd that died: their keys were never told to anybody.
    for (auto& name : namesIn(snapshots)) {
      if (name.startsWith(".")) trash.take(snapshots, name);
    }
  }

  kj::StringPtr name() const override { return "overlay"_kj; }

  RootfsMount prepare(kj::StringPtr key, kj::ArrayPtr<const Digest> chainIds) override {
    if (!isPlainName(key)) {
      fail(Code::INVALID_ARGUMENT, "snapshot key \"", key, "\" is no plain file name");
    }
    if (tryStat(snapshots, key) != nullptr) {
      fail(Code::ALREADY_EXISTS, "snapshot ", key, " is there already");
    }
    struct stat top = statTop(chainIds);
    auto half = kj::str('.', key);
    trash.take(snapshots, half);
    makeSnapshot(half, chainIds, top);
    KJ_SYSCALL(renameat(snapshots, half.cStr(), snapshots, key.cStr()), key);
    return describe(key, chainIds);
  }

  kj::Maybe<RootfsMount> find(kj::StringPtr key) override {
    KJ_IF_MAYBE (chainIds, tryReadChainIds(key)) {
      return describe(key, *chainIds);
    }
    return nullptr;
  }

  void remove(kj::StringPtr key) override {
    if (isPlainName(key)) trash.take(snapshots, key);
  }

  kj::Promise<Usage> usage(kj::StringPtr key) override {
    if (isPlainName(key)) {
      KJ_IF_MAYBE (fs, tryOpenAt(snapshots, kj::str(key, "/fs"), O_RDONLY | O_DIRECTORY)) {
        return helpers.measure(*fs);
      }
    }
    fail(Code::NOT_FOUND, "snapshot ", key, " is not there");
  }

  kj::Array<Snapshot> list() override {
    kj::Vector<Snapshot> result;
    for (auto& key : namesIn(snapshots)) {
      auto chainIds = readChainIdsOrNone(key);
      result.add(Snapshot{kj::mv(key), kj::mv(chainIds)});
    }
    return result.releaseAsArray();
  }

  kj::Promise<void> whenTrashIsEmpty() override { return trash.whenEmpty(); }

 private:
  kj::String path;
  Store& store;
  Helpers& helpers;
  Durability durability;
  kj::AutoCloseFd root, snapshots;
  Trash trash;

  // Of the topmost layer's root folder, after all layers were found.
  struct stat statTop(kj::ArrayPtr<const Digest> chainIds) {
    struct stat stats = {};
    stats.st_mode = 0755;
    for (const Digest& chainId : chainIds) {
      KJ_IF_MAYBE (layer, store.openLayer(chainId)) {
        KJ_SYSCALL(fstat(*layer, &stats), chainId);
      } else {
        fail(Code::NOT_FOUND, "layer ", chainId, " is not in the store: pull the image again");
      }
    }
    return stats;
  }

  void makeSnapshot(kj::StringPtr name, kj::ArrayPtr<const Digest> chainIds,
                    const struct stat& top) {
    auto folder = makeFolder(snapshots, name, 0711);
    auto fs = makeFolder(folder, "fs", 0755);
    // A merged folder shows the attributes of its upper one: the container's / is the image's.
    if (top.st_uid != geteuid() || top.st_gid != getegid()) {
      KJ_SYSCALL(fchown(fs, top.st_uid, top.st_gid), name);
    }
    KJ_SYSCALL(fchmod(fs, top.st_mode & 07777), name);
    makeFolder(folder, "work", 0700);
    writeNewFile(folder, "layers", kj::str(kj::strArray(chainIds, "\n"), '\n'), 0600);
  }

  // Null when there is no such snapshot.
  kj::Maybe<kj::Array<Digest>> tryReadChainIds(kj::StringPtr key) {
    if (!isPlainName(key)) return nullptr;
    KJ_IF_MAYBE (text, tryReadFile(snapshots, kj::str(key, "/layers"), MAX_LAYERS_FILE_BYTES)) {
      kj::Vector<Digest> result;
      kj::StringPtr rest = *text;
      while (rest.size() > 0) {
        size_t end = rest.findFirst('\n').orDefault(rest.size());
        if (end > 0) result.add(Digest::parse(kj::heapString(rest.slice(0, end)), key));
        rest = rest.slice(kj::min(end + 1, rest.size()));
      }
      return result.releaseAsArray();
    }
    return nullptr;
  }

  // A power cut may have taken the file's contents. Nobody can use such a snapshot any more, but
  // whoever removes those that belong to nobody must see it.
  kj::Array<Digest> readChainIdsOrNone(kj::StringPtr key) {
    kj::Array<Digest> result;
    KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() {
                   KJ_IF_MAYBE (chainIds, tryReadChainIds(key)) result = kj::mv(*chainIds);
                 })) {
      KJ_LOG(WARNING, "a snapshot does not say what it stands on", key,
             exception->getDescription());
    }
    return result;
  }

  RootfsMount describe(kj::StringPtr key, kj::ArrayPtr<const Digest> chainIds) {
    kj::Vector<kj::String> lower(chainIds.size() + 1);
    for (size_t i = chainIds.size(); i > 0; --i)
      lower.add(store.layerPath(chainIds[i - 1]));
    if (lower.empty()) lower.add(store.emptyLayerPath());
    kj::Vector<kj::String> options;
    // A layer's own trusted.overlay.* attributes must mean nothing.
    options.add(kj::str("userxattr"));
    if (durability == Durability::VOLATILE) options.add(kj::str("volatile"));
    return RootfsMount{.lower = lower.releaseAsArray(),
                       .upper = kj::str(path, "/snapshots/", key, "/fs"),
                       .work = kj::str(path, "/snapshots/", key, "/work"),
                       .options = options.releaseAsArray()};
  }
};

}  // namespace

kj::Own<Snapshotter> newOverlaySnapshotter(kj::StringPtr path, Store& store, Helpers& helpers,
                                           Durability durability) {
  return kj::heap<OverlaySnapshotter>(path, store, helpers, durability);
}

}  // namespace belay::snapshot
