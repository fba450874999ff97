// See image-manager.h.
#include "supervisor/image-manager.h"

#include <kj/debug.h>

#include "failpoint/failpoint.h"
#include "snapshot/failure.h"
#include "snapshot/image-check.h"
#include "snapshot/reference.h"
#include "supervisor/log.h"

namespace belay::supervisor {

namespace {

using snapshot::Code;
using snapshot::Digest;
using snapshot::fail;
using snapshot::Image;
using snapshot::Reference;
using snapshot::Store;

// As short as an id may be written, so that it is not taken for a name ("cafe").
constexpr size_t MIN_SHORT_ID = 4;

using Names = capnp::List<capnp::Text>;

bool contains(Names::Reader names, kj::StringPtr name) {
  for (auto other : names) {
    if (other == name) return true;
  }
  return false;
}

// The names of both, each once, those of `first` in front.
kj::Vector<kj::String> merged(Names::Reader first, Names::Reader second) {
  kj::Vector<kj::String> all;
  for (auto name : first)
    all.add(kj::str(name));
  for (auto name : second) {
    if (!contains(first, name)) all.add(kj::str(name));
  }
  return all;
}

template <typename Init>
void setNames(kj::ArrayPtr<const kj::String> names, Init&& init) {
  auto list = init(names.size());
  for (size_t i = 0; i < names.size(); ++i)
    list.set(i, names[i]);
}

bool isHex(kj::StringPtr text) {
  for (char c : text) {
    if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f')) return false;
  }
  return true;
}

// One operation per reference and who asks: nobody gets an image by another one's credentials.
kj::String pullName(kj::StringPtr reference, const PullCredentials& given) {
  auto secrets = kj::str(given.username, '\0', given.password, '\0', given.auth, '\0',
                         given.serverAddress, '\0', given.identityToken, '\0', given.registryToken);
  if (secrets.size() == 5) return kj::str("pull-image ", reference);
  auto mark = Digest::of(secrets.asBytes());
  return kj::str("pull-image ", reference, " as ", mark.hex().slice(0, 8));
}

snapshot::RegistryCredentials forRegistry(PullCredentials given) {
  return {
      .username = kj::mv(given.username),
      .password = kj::mv(given.password),
      .auth = kj::mv(given.auth),
      .serverAddress = kj::mv(given.serverAddress),
      .identityToken = kj::mv(given.identityToken),
      .registryToken = kj::mv(given.registryToken),
  };
}

}  // namespace

ImageManager::ImageManager(Parts& parts) : parts(parts), tasks(*this) {
  for (auto& image : parts.database.images()) {
    auto id = kj::str(image.get().getId());
    if (parts.store.isOfAnotherBoot() && isBroken(image.get())) {
      parts.database.removeImage(id);
    } else {
      images.insert(kj::mv(id), kj::mv(image));
    }
  }
  // What a pull had brought when the last daemon died, its next try shall find.
  collectGarbage(Store::Recent::KEEP);
}

// One that was listed without its content could not be used, nor would a kubelet pull it again.
bool ImageManager::isBroken(Image::Reader image) {
  KJ_IF_MAYBE (fault, snapshot::faultOf(image, parts.store)) {
    log(LogLevel::ERROR, "an image has lost some of its content and must be pulled again", "image",
        image.getId(), "reason", *fault);
    return true;
  }
  return false;
}

kj::Promise<kj::String> ImageManager::pull(kj::String reference, PullCredentials credentials) {
  auto name = pullName(reference, credentials);
  return parts.operations.run(
      kj::mv(name), [this, reference = kj::mv(reference),
                     credentials = kj::mv(credentials)](Operation& operation) mutable {
        return carryOutPull(operation, kj::mv(reference), kj::mv(credentials));
      });
}

kj::Promise<kj::String> ImageManager::carryOutPull(Operation& operation, kj::String reference,
                                                   PullCredentials credentials) {
  operation.enter("download and unpack");
  CO_FAILPOINT(parts.timer, "belayd.pull-image/before-download");
  auto pulled = co_await parts.puller.pull(kj::mv(reference), forRegistry(kj::mv(credentials)));
  co_return co_await record(operation, kj::mv(pulled));
}

kj::Promise<kj::String> ImageManager::load(kj::AutoCloseFd archive, kj::String tag) {
  // An archive is a file descriptor: two are never the same request.
  static uint64_t counter = 0;
  return parts.operations.run(
      kj::str("load-image ", ++counter),
      [this, archive = kj::mv(archive), tag = kj::mv(tag)](Operation& operation) mutable {
        operation.enter("read the archive and unpack");
        return parts.puller.importArchive(kj::mv(archive), kj::mv(tag))
            .then([this, &operation](kj::Own<snapshot::PulledImage> pulled) {
              return record(operation, kj::mv(pulled));
            });
      });
}

// Content first, then the record: a record without its content would be a broken image.
kj::Promise<kj::String> ImageManager::record(Operation& operation,
                                             kj::Own<snapshot::PulledImage> pulled) {
  operation.enter("make the content durable");
  CO_FAILPOINT(parts.timer, "belayd.pull-image/after-content");
  co_await parts.store.sync();
  CO_FAILPOINT(parts.timer, "belayd.pull-image/before-record");

  operation.enter("record the image");
  auto id = kj::str(pulled->image().getId());
  kj::Vector<Owned<Image>> changed;
  takeNamesFromOthers(pulled->image(), changed);
  auto image = Owned<Image>(pulled->image());
  KJ_IF_MAYBE (known, images.find(id)) {
    auto tags = merged(known->get().getRepoTags(), image.get().getRepoTags());
    auto digests = merged(known->get().getRepoDigests(), image.get().getRepoDigests());
    image = image.with([&](Image::Builder builder) {
      setNames(tags, [&](auto size) { return builder.initRepoTags(size); });
      setNames(digests, [&](auto size) { return builder.initRepoDigests(size); });
    });
  }
  changed.add(image);
  parts.database.put(changed);
  for (auto& one : changed) {
    images.upsert(kj::str(one.get().getId()), one);
  }
  CO_FAILPOINT(parts.timer, "belayd.pull-image/after-record");
  co_await parts.database.whenDurable();
  CO_FAILPOINT(parts.timer, "belayd.pull-image/after-durable");
  log(LogLevel::INFO, "image is here", "image", id, "bytes", image.get().getSizeBytes());
  co_return kj::mv(id);
}

// A tag names one image: whoever had it loses it.
void ImageManager::takeNamesFromOthers(Image::Reader image, kj::Vector<Owned<Image>>& changed) {
  for (auto& entry : images) {
    if (entry.key == image.getId()) continue;
    auto tags = entry.value.get().getRepoTags();
    kj::Vector<kj::String> left;
    for (auto tag : tags) {
      if (!contains(image.getRepoTags(), tag)) left.add(kj::str(tag));
    }
    if (left.size() == tags.size()) continue;
    changed.add(entry.value.with([&](Image::Builder builder) {
      setNames(left, [&](auto size) { return builder.initRepoTags(size); });
    }));
  }
}

kj::Promise<void> ImageManager::remove(kj::StringPtr reference) {
  KJ_IF_MAYBE (image, find(reference)) {
    auto id = kj::str(image->get().getId());
    FAILPOINT("belayd.remove-image/before-record");
    parts.database.removeImage(id);
    FAILPOINT("belayd.remove-image/after-record");
    images.erase(id);
    log(LogLevel::INFO, "image is removed", "image", id);
  }
  // Also for one that is not there: whoever took its record away may have died before the content
  // went. The record first, or a power cut could bring it back and not its content. It goes on if
  // the caller does not wait.
  auto freeing = parts.database.whenDurable()
                     .then([this] {
                       FAILPOINT("belayd.remove-image/after-durable");
                       collectGarbage(Store::Recent::TAKE);
                     })
                     .fork();
  tasks.add(freeing.addBranch());
  return freeing.addBranch();
}

kj::Maybe<Owned<Image>> ImageManager::find(kj::StringPtr reference) {
  KJ_IF_MAYBE (exact, images.find(reference)) {
    return *exact;
  }
  kj::Maybe<Reference> parsed = Reference::tryParse(reference);
  kj::Maybe<Owned<Image>> byShortId;
  bool ambiguous = false;
  bool mayBeShortId = reference.size() >= MIN_SHORT_ID && isHex(reference);
  auto prefix = kj::str("sha256:", reference);
  for (auto& entry : images) {
    KJ_IF_MAYBE (name, parsed) {
      auto image = entry.value.get();
      KJ_IF_MAYBE (digest, name->digest) {
        if (contains(image.getRepoDigests(), name->nameWith(*digest))) return entry.value;
      } else KJ_IF_MAYBE (tagged, name->taggedName()) {
        if (contains(image.getRepoTags(), *tagged)) return entry.value;
      }
    }
    if (mayBeShortId && entry.key.startsWith(prefix)) {
      ambiguous = byShortId != nullptr;
      byShortId = entry.value;
    }
  }
  if (ambiguous) return nullptr;
  return byShortId;
}

Owned<Image> ImageManager::require(kj::StringPtr reference) {
  KJ_IF_MAYBE (image, find(reference)) {
    return kj::mv(*image);
  }
  fail(Code::NOT_FOUND, "image ", reference, " is not on this node: pull it first");
}

kj::Array<Owned<Image>> ImageManager::all() {
  return KJ_MAP(entry, images) {
    return entry.value;
  };
}

kj::Promise<FilesystemUsage> ImageManager::usage() {
  auto used = parts.store.usage();
  co_return FilesystemUsage{
      .timestampNs = wallClockNs(),
      .mountpoint = kj::str(parts.store.path()),
      .usedBytes = used.bytes,
      .inodesUsed = used.inodes,
  };
}

// Layers that a snapshot stands on stay, also when their image is removed.
void ImageManager::collectGarbage(Store::Recent recent) {
  kj::Vector<Digest> blobs, layers;
  for (auto& entry : images) {
    auto image = entry.value.get();
    for (auto blob : image.getBlobs())
      blobs.add(Digest::parse(blob, "a recorded image's blob"));
    for (auto layer : image.getLayers()) {
      layers.add(Digest::parse(layer.getChainId(), "a recorded image's chain id"));
    }
  }
  for (auto& snapshot : parts.snapshotter.list())
    layers.addAll(snapshot.chainIds);
  auto collected = parts.store.collect(blobs, layers, recent);
  if (collected.blobs + collected.layers + collected.downloads > 0) {
    log(LogLevel::INFO, "content that no image needs is thrown away", "blobs", collected.blobs,
        "layers", collected.layers, "downloads", collected.downloads, "bytes", collected.bytes);
  }
  tasks.add(parts.store.whenTrashIsEmpty());
}

void ImageManager::taskFailed(kj::Exception&& exception) {
  log(LogLevel::ERROR, "the space of removed images could not be freed", "reason",
      snapshot::messageOf(exception));
}

}  // namespace belay::supervisor
