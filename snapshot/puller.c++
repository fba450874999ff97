// See puller.h.
#include "snapshot/puller.h"

#include <kj/debug.h>

#include "snapshot/failure.h"
#include "snapshot/hosts.h"
#include "snapshot/image-check.h"
#include "snapshot/ingest-server.h"

namespace belay::snapshot {

namespace {

// What both modes are told.
kj::Own<capnp::MallocMessageBuilder> newRequest(const PullerOptions& options) {
  auto message = kj::heap<capnp::MallocMessageBuilder>();
  auto request = message->initRoot<PullRequest>();
  request.setArchitecture(options.architecture);
  request.setOs(options.os);
  request.setVariant(options.variant);
  request.setMaxManifestBytes(options.maxManifestBytes);
  request.setMaxBlobBytes(options.maxBlobBytes);
  request.setMaxLayers(options.maxLayers);
  request.setStallTimeoutMs(options.stallTimeoutMs);
  return message;
}

void fillReference(PullRequest::Builder request, const Reference& reference) {
  request.setRegistry(reference.registry);
  request.setRepository(reference.repository);
  KJ_IF_MAYBE (tag, reference.tag) {
    request.setTag(*tag);
  }
  KJ_IF_MAYBE (digest, reference.digest) {
    request.setDigest(digest->text());
  }
}

void fillHosts(PullRequest::Builder request, kj::ArrayPtr<const RegistryHost> hosts) {
  auto list = request.initHosts(hosts.size());
  for (kj::uint i = 0; i < hosts.size(); ++i)
    hosts[i].fill(list[i]);
}

}  // namespace

Puller::Puller(Store& store, Helpers& helpers, PullerOptions options)
    : store(store),
      helpers(helpers),
      options(kj::mv(options)),
      unpacker(store, helpers, this->options.parallelUnpacks) {}

Puller::~Puller() noexcept(false) = default;

kj::Promise<kj::Own<PulledImage>> Puller::pull(kj::String text, RegistryCredentials credentials) {
  co_await helpers.whenFree();
  auto reference = Reference::parse(text);
  auto message = newRequest(options);
  auto request = message->getRoot<PullRequest>();
  fillReference(request, reference);
  fillHosts(request, hostsFor(reference.registry, options.registryConfigFolders));
  chooseCredentials(credentials, reference, request.initCredentials());

  auto session =
      kj::refcounted<IngestServer>(store, helpers, downloads, unpacker, kj::mv(message), nullptr);
  auto reported = co_await session->run("fetch"_kj);
  auto image = reported->getRoot<Image>().asReader();
  auto checked = checkImage(image, store, options.maxLayers);
  setPulledNames(checked.message->getRoot<Image>(), reference, image);
  co_return co_await finish(kj::mv(checked), session->takeLease());
}

kj::Promise<kj::Own<PulledImage>> Puller::importArchive(kj::AutoCloseFd archive,
                                                        kj::String wanted) {
  co_await helpers.whenFree();
  auto message = newRequest(options);
  message->getRoot<PullRequest>().setArchiveTag(wanted);
  auto session = kj::refcounted<IngestServer>(store, helpers, downloads, unpacker, kj::mv(message),
                                              kj::mv(archive));
  auto reported = co_await session->run("import"_kj);
  auto image = reported->getRoot<Image>().asReader();
  auto checked = checkImage(image, store, options.maxLayers);
  setImportedNames(checked.message->getRoot<Image>(), wanted, image);
  co_return co_await finish(kj::mv(checked), session->takeLease());
}

kj::Promise<kj::Own<PulledImage>> Puller::finish(CheckedImage checked,
                                                 kj::Own<Store::Lease> lease) {
  // The session has leased what it was asked for; this is what the record will name.
  for (auto& blob : checked.blobs)
    lease->addBlob(blob);
  for (auto& layer : checked.layers)
    lease->addLayer(layer.chainId);
  co_await unpacker.unpack(kj::mv(checked.layers));
  co_return kj::heap<PulledImage>(kj::mv(checked.message), kj::mv(lease));
}

}  // namespace belay::snapshot
