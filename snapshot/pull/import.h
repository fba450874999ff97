// `belay-pull import`: brings one image out of a tar archive, an OCI image layout (image-layout.md)
// or what `docker save` writes. Like fetch it writes only to the files that belayd hands it.
#pragma once

#include "snapshot/pull/archive-index.h"
#include "snapshot/pull/image-assembly.h"

namespace belay::snapshot {

// An OCI image layout: blobs/ALGORITHM/HEX and index.json. The session, the archive and what the
// request reads must outlive it.
class OciArchive final : public ImageSource {
 public:
  OciArchive(IngestSession& session, const ArchiveIndex& archive, PullRequest::Reader request)
      : session(session), archive(archive), request(request) {}

  // Brings the image that the request's archiveTag names (its only one when that is empty) and
  // reports it. Throws pull errors.
  kj::Promise<void> run();

  kj::Promise<ManifestDocument> manifest(const Descriptor& descriptor) override;
  kj::Promise<kj::AutoCloseFd> blob(const Descriptor& descriptor) override;

 private:
  Descriptor choose(kj::Vector<Descriptor> entries);

  IngestSession& session;
  const ArchiveIndex& archive;
  PullRequest::Reader request;
};

// `docker save`: manifest.json names a configuration and layer tars. It has no manifest, so one is
// made for the store, with digests computed here.
class DockerArchive final : public ImageSource {
 public:
  DockerArchive(IngestSession& session, const ArchiveIndex& archive, PullRequest::Reader request)
      : session(session), archive(archive), request(request) {}

  kj::Promise<void> run();

  kj::Promise<ManifestDocument> manifest(const Descriptor& descriptor) override;
  kj::Promise<kj::AutoCloseFd> blob(const Descriptor& descriptor) override;

 private:
  Descriptor describe(kj::StringPtr name, kj::StringPtr mediaType);
  kj::StringPtr layerType(const ArchiveIndex::Member& member);

  IngestSession& session;
  const ArchiveIndex& archive;
  PullRequest::Reader request;
  kj::HashMap<Digest, ArchiveIndex::Member> members;
};

// The mode's main; returns the exit status.
int importMain();

}  // namespace belay::snapshot
