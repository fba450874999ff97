// `belay-pull fetch`: brings one image from a registry. Index, manifest, configuration and layers
// go through the Ingest capability (pull.capnp); this process writes to nothing else.
#pragma once

#include "snapshot/pull/http-client.h"
#include "snapshot/pull/image-assembly.h"
#include "snapshot/pull/registry-host.h"

namespace belay::snapshot {

// The endpoints of one pull, tried in the order of the request. The session, the client and what
// the request reads must outlive it.
class Fetch final : public ImageSource {
 public:
  Fetch(IngestSession& session, HttpClient& client, PullRequest::Reader request);

  // Brings everything and reports the image. Throws pull errors, which the caller reports.
  kj::Promise<void> run();

  kj::Promise<ManifestDocument> manifest(const Descriptor& descriptor) override;
  kj::Promise<kj::AutoCloseFd> blob(const Descriptor& descriptor) override;

 private:
  enum class Need { RESOLVE, PULL };
  template <typename T>
  using HostCall = kj::Function<kj::Promise<T>(RegistryHost&)>;
  template <typename T>
  kj::Promise<T> onEachHost(Need need, kj::StringPtr object, HostCall<T> call);

  // What HEAD tells of a manifest.
  struct Stated {
    Digest digest;
    uint64_t sizeBytes;
    kj::String mediaType;
  };
  kj::Promise<kj::Maybe<Stated>> askForDigest(RegistryHost& host, kj::StringPtr reference);
  kj::Promise<ManifestDocument> resolveAt(RegistryHost& host, kj::StringPtr reference);
  kj::Promise<ManifestDocument> download(RegistryHost& host, kj::StringPtr reference);

  IngestSession& session;
  PullRequest::Reader request;
  kj::Vector<kj::Own<RegistryHost>> hosts;
};

// The mode's main; returns the exit status.
int fetchMain();

}  // namespace belay::snapshot
