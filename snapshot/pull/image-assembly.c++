// See image-assembly.h.
#include "snapshot/pull/image-assembly.h"

#include <kj/map.h>

#include "snapshot/pull/platform.h"
#include "snapshot/pull/pull-error.h"

namespace belay::snapshot {

namespace {

bool isIndex(const ManifestDocument& document) {
  return manifestKind(document.bytes, document.mediaType) == ManifestKind::INDEX;
}

kj::Promise<void> bringNext(ImageSource& source, kj::ArrayPtr<const Descriptor* const> wanted,
                            size_t& next) {
  while (next < wanted.size())
    co_await source.blob(*wanted[next++]);
}

// The layers, each once however often the manifest names it. The first failure ends the others.
kj::Promise<void> bringLayers(ImageSource& source, const ImageManifest& manifest) {
  kj::Vector<const Descriptor*> wanted;
  kj::HashSet<kj::StringPtr> seen;
  for (const Descriptor& layer : manifest.layers) {
    if (seen.contains(layer.digest.text())) continue;
    seen.insert(layer.digest.text());
    wanted.add(&layer);
  }

  size_t next = 0;
  auto workers = kj::heapArrayBuilder<kj::Promise<void>>(PARALLEL_BLOBS);
  for (int i = 0; i < PARALLEL_BLOBS; ++i)
    workers.add(bringNext(source, wanted, next));
  co_await kj::joinPromisesFailFast(workers.finish());
}

}  // namespace

ManifestLimits limitsOf(PullRequest::Reader request) {
  return {request.getMaxManifestBytes(), request.getMaxBlobBytes(), request.getMaxLayers()};
}

kj::Promise<void> assembleImage(IngestSession& session, ImageSource& source, ManifestDocument top,
                                ImageNames names, PullRequest::Reader request) {
  ManifestLimits limits = limitsOf(request);
  Platform machine{kj::heapString(request.getOs()), kj::heapString(request.getArchitecture()),
                   kj::heapString(request.getVariant())};
  ImageParts parts{kj::mv(names.tags), {}, {}, top.digest, {{top.digest}, {}}, nullptr};
  for (auto& name : names.repositories)
    parts.repoDigests.add(kj::str(name, '@', top.digest));
  parts.documents.add(top.digest);

  ManifestDocument document = kj::mv(top);
  if (isIndex(document)) {
    auto entries = parseIndex(document.bytes, limits);
    KJ_IF_MAYBE (entry, choosePlatform(entries, machine)) {
      document = co_await source.manifest(*entry);
    } else {
      failPull(FailureCode::NOT_FOUND, "the image index has no image for ", platformName(machine));
    }
    parts.documents.add(document.digest);
    if (isIndex(document)) {
      failPull(FailureCode::UNSUPPORTED, "the image index lists another index");
    }
  }
  parts.manifestDigest = document.digest;
  parts.manifest = parseManifest(document.bytes, limits);

  // The layers are on their way while the configuration comes; with it belayd can unpack the first
  // of them while the last is still being brought.
  auto layers = bringLayers(source, parts.manifest);
  kj::AutoCloseFd config = co_await source.blob(parts.manifest.config);
  parts.configJson = readWholeFile(config, limits.maxManifestBytes);
  auto message = kj::heap<capnp::MallocMessageBuilder>();
  buildImage(message->initRoot<Image>(), parts, machine);
  co_await session.plan(message->getRoot<Image>());
  co_await layers;
  co_await session.complete(kj::mv(message));
}

}  // namespace belay::snapshot
