// See import.h.
#include "snapshot/pull/import.h"

#include <kj/debug.h>

#include "snapshot/pull/confine.h"
#include "snapshot/pull/pull-error.h"
#include "snapshot/pull/sha256.h"

namespace belay::snapshot {

namespace {

constexpr int SESSION_FD = 3;

kj::String blobPath(const Digest& digest) {
  return kj::str("blobs/sha256/", digest.hex());
}

// Whether a name out of index.json is a whole image name and not only its tag, which is what
// image-spec's annotation may be as well.
bool isWholeName(kj::StringPtr name) {
  return name.findFirst('/') != nullptr || name.findFirst(':') != nullptr;
}

bool isNamed(const Descriptor& entry, kj::StringPtr wanted) {
  if (entry.referenceName == wanted) return true;
  return entry.referenceName != "" && !isWholeName(entry.referenceName) &&
         wanted.endsWith(kj::str(':', entry.referenceName));
}

}  // namespace

kj::Promise<void> OciArchive::run() {
  auto index = archive.read(archive.require("index.json"), request.getMaxManifestBytes());
  Descriptor chosen = choose(parseIndex(index, limitsOf(request)));
  ImageNames names;
  if (isWholeName(chosen.referenceName)) names.tags.add(kj::heapString(chosen.referenceName));
  auto top = co_await manifest(chosen);
  co_await assembleImage(session, *this, kj::mv(top), kj::mv(names), request);
}

Descriptor OciArchive::choose(kj::Vector<Descriptor> entries) {
  kj::StringPtr wanted = request.getArchiveTag();
  if (entries.size() == 1) return kj::mv(entries[0]);
  for (auto& entry : entries) {
    if (wanted != "" && isNamed(entry, wanted)) return kj::mv(entry);
  }
  auto names = kj::strArray(
      KJ_MAP(entry, entries) {
        return entry.referenceName == "" ? "(none)"_kj : entry.referenceName;
      },
      ", ");
  if (wanted == "") {
    failPull(FailureCode::INVALID, "the archive has ", entries.size(),
             " images; say which by one of their names: ", names);
  }
  failPull(FailureCode::NOT_FOUND, "the archive has no image ", wanted, "; its names are: ", names);
}

kj::Promise<ManifestDocument> OciArchive::manifest(const Descriptor& descriptor) {
  auto bytes =
      archive.read(archive.require(blobPath(descriptor.digest)), request.getMaxManifestBytes());
  co_await session.store(descriptor.digest, bytes);
  co_return ManifestDocument{descriptor.digest, kj::mv(bytes),
                             kj::heapString(descriptor.mediaType)};
}

kj::Promise<kj::AutoCloseFd> OciArchive::blob(const Descriptor& descriptor) {
  KJ_IF_MAYBE (file, co_await session.open(descriptor.digest, descriptor.sizeBytes)) {
    co_return kj::mv(*file);
  }
  auto member = archive.require(blobPath(descriptor.digest));
  if (member.sizeBytes != descriptor.sizeBytes) {
    failPull(FailureCode::INVALID, "the archive's blob ", descriptor.digest, " has ",
             member.sizeBytes, " bytes, the manifest says ", descriptor.sizeBytes);
  }
  archive.copy(member, session.partial(descriptor.digest).file);
  session.progress(member.sizeBytes);
  co_return co_await session.done(descriptor.digest);
}

int importMain() {
  closeAllAbove(SESSION_FD);
  // OpenSSL sets itself up while files can still be opened.
  Sha256 prepared;
  auto io = kj::setupAsyncIo();
  IngestSession session(*io.lowLevelProvider, kj::AutoCloseFd(SESSION_FD));
  confineToRpc();
  return session.serve(io.waitScope, [&](PullRequest::Reader request) -> kj::Promise<void> {
    ArchiveIndex archive(session.takeArchive());
    if (archive.find("index.json") != nullptr) {
      OciArchive source(session, archive, request);
      co_await source.run();
    } else if (archive.find("manifest.json") != nullptr) {
      DockerArchive source(session, archive, request);
      co_await source.run();
    } else {
      failPull(FailureCode::INVALID,
               "this is no image archive: it has neither index.json nor manifest.json");
    }
  });
}

}  // namespace belay::snapshot
