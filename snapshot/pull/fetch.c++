// See fetch.h.
#include "snapshot/pull/fetch.h"

#include <kj/debug.h>
#include <unistd.h>

#include "failpoint/failpoint.h"
#include "snapshot/pull/blob-download.h"
#include "snapshot/pull/confine.h"
#include "snapshot/pull/pull-error.h"

namespace belay::snapshot {

namespace {

constexpr int SESSION_FD = 3;

// What is wrong here and not at an endpoint: another one would not help.
bool isOurs(const kj::Exception& e) {
  return pullErrorCode(e) == FailureCode::INTERNAL;
}

kj::String headerOf(const HttpResponse& response, kj::StringPtr name) {
  return kj::heapString(response.header(name).orDefault(""));
}

}  // namespace

Fetch::Fetch(IngestSession& session, HttpClient& client, PullRequest::Reader request)
    : session(session), request(request) {
  for (auto host : request.getHosts())
    hosts.add(kj::heap<RegistryHost>(client, host, request));
}

// Calls `call` with one endpoint after the other until one succeeds. When none does, the last one's
// code counts, for it is the registry itself, and the sentence tells of all.
template <typename T>
kj::Promise<T> Fetch::onEachHost(Need need, kj::StringPtr object, HostCall<T> call) {
  kj::Vector<kj::String> sentences;
  FailureCode code = FailureCode::INTERNAL;
  for (auto& host : hosts) {
    if (!(need == Need::RESOLVE ? host->canResolve() : host->canPull())) continue;
    try {
      co_return co_await call(*host);
    } catch (const kj::Exception& e) {
      if (isOurs(e)) throw;
      code = pullErrorCode(e);
      sentences.add(pullErrorSentence(e));
    }
  }
  if (sentences.size() == 0) {
    failPull(FailureCode::UNAVAILABLE, object, ": no endpoint is configured that may serve it");
  }
  failPull(code, kj::strArray(sentences, "; "));
}

kj::Promise<void> Fetch::run() {
  FAILPOINT("pull.fetch/before-resolve");
  kj::StringPtr reference = request.getDigest() == "" ? request.getTag() : request.getDigest();
  auto resolve = [&](RegistryHost& host) { return resolveAt(host, reference); };
  auto top = co_await onEachHost<ManifestDocument>(Need::RESOLVE, reference, resolve);

  FAILPOINT("pull.fetch/after-resolve");
  ImageNames names;
  auto repository = kj::str(request.getRegistry(), '/', request.getRepository());
  if (request.getTag() != "") names.tags.add(kj::str(repository, ':', request.getTag()));
  names.repositories.add(kj::mv(repository));
  co_await assembleImage(session, *this, kj::mv(top), kj::mv(names), request);
  FAILPOINT("pull.fetch/after-result");
}

// The document that the reference names. When the store has it already, the answer to HEAD is all
// that is needed; it proves the credentials too.
kj::Promise<ManifestDocument> Fetch::resolveAt(RegistryHost& host, kj::StringPtr reference) {
  KJ_IF_MAYBE (stated, co_await askForDigest(host, reference)) {
    if (request.getDigest() != "" && stated->digest.text() != request.getDigest()) {
      failPull(FailureCode::DIGEST_MISMATCH, "registry ", host.name(), ": asked for manifest ",
               reference, ", it offers ", stated->digest);
    }
    KJ_IF_MAYBE (file, co_await session.open(stated->digest, stated->sizeBytes)) {
      co_return ManifestDocument{stated->digest,
                                 readWholeFile(*file, request.getMaxManifestBytes()),
                                 kj::mv(stated->mediaType)};
    }
    // By digest, lest the tag moves between the two questions.
    co_return co_await download(host, stated->digest.text());
  }
  co_return co_await download(host, reference);
}

// By HEAD, which registries do not count against their rate limits. Null when the endpoint refuses
// (HEAD has no body that would say why, and some registries do not know it at all) or leaves out
// digest or length: GET follows then.
kj::Promise<kj::Maybe<Fetch::Stated>> Fetch::askForDigest(RegistryHost& host,
                                                          kj::StringPtr reference) {
  auto answer = co_await host.ask(
      RegistryQuestion{HttpMethod::HEAD, kj::str("/manifests/", reference), MANIFEST_ACCEPT, 0},
      [](const HttpResponse&, kj::ArrayPtr<const kj::byte>) {});
  if (!answer.isSuccess()) co_return nullptr;
  auto digest = Digest::tryParse(headerOf(answer.response, "Docker-Content-Digest"));
  auto length = headerOf(answer.response, "Content-Length").tryParseAs<uint64_t>();
  KJ_IF_MAYBE (d, digest) {
    KJ_IF_MAYBE (n, length) {
      if (*n > request.getMaxManifestBytes()) co_return nullptr;
      co_return Stated{*d, *n, headerOf(answer.response, "Content-Type")};
    }
  }
  co_return nullptr;
}

// GETs a manifest and puts it into the store. Where `reference` is a digest, the content must have
// it.
kj::Promise<ManifestDocument> Fetch::download(RegistryHost& host, kj::StringPtr reference) {
  kj::Vector<kj::byte> body;
  uint64_t limit = request.getMaxManifestBytes();
  auto answer = co_await host.ask(
      RegistryQuestion{HttpMethod::GET, kj::str("/manifests/", reference), MANIFEST_ACCEPT, 0},
      [&body, limit](const HttpResponse&, kj::ArrayPtr<const kj::byte> piece) {
        if (piece.size() > limit - body.size()) {
          failPull(FailureCode::INVALID, "the manifest has more than ", limit, " bytes");
        }
        body.addAll(piece);
      });
  if (!answer.isSuccess()) {
    kj::throwFatalException(host.refusal(kj::str("manifest ", reference), answer));
  }
  ManifestDocument document{Digest::of(body), body.releaseAsArray(),
                            headerOf(answer.response, "Content-Type")};
  if (Digest::tryParse(reference) != nullptr && document.digest.text() != reference) {
    failPull(FailureCode::DIGEST_MISMATCH, "registry ", host.name(), ": manifest ", reference,
             ": what came has the digest ", document.digest);
  }
  co_await session.store(document.digest, document.bytes);
  co_return kj::mv(document);
}

kj::Promise<ManifestDocument> Fetch::manifest(const Descriptor& descriptor) {
  KJ_IF_MAYBE (file, co_await session.open(descriptor.digest, descriptor.sizeBytes)) {
    co_return ManifestDocument{descriptor.digest,
                               readWholeFile(*file, request.getMaxManifestBytes()),
                               kj::heapString(descriptor.mediaType)};
  }
  auto get = [&](RegistryHost& host) { return download(host, descriptor.digest.text()); };
  co_return co_await onEachHost<ManifestDocument>(Need::PULL, descriptor.digest.text(), get);
}

kj::Promise<kj::AutoCloseFd> Fetch::blob(const Descriptor& descriptor) {
  KJ_IF_MAYBE (file, co_await session.open(descriptor.digest, descriptor.sizeBytes)) {
    co_return kj::mv(*file);
  }
  BlobDownload download(session, descriptor, session.partial(descriptor.digest));
  FAILPOINT("pull.fetch/before-blob");
  auto bring = [&](RegistryHost& host) { return download.from(host); };
  co_await onEachHost<void>(Need::PULL, kj::str("blob ", descriptor.digest), bring);
  FAILPOINT("pull.fetch/after-blob");
  co_return co_await session.done(descriptor.digest);
}

int fetchMain() {
  closeAllAbove(SESSION_FD);
  confineToNetwork();
  auto io = kj::setupAsyncIo();
  IngestSession session(*io.lowLevelProvider, kj::AutoCloseFd(SESSION_FD));
  HttpClient client(io.unixEventPort, io.provider->getTimer());
  return session.serve(io.waitScope, [&](PullRequest::Reader request) -> kj::Promise<void> {
    Fetch fetch(session, client, request);
    co_await fetch.run();
  });
}

}  // namespace belay::snapshot
