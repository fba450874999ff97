// See blob-download.h.
#include "snapshot/pull/blob-download.h"

#include <kj/debug.h>
#include <unistd.h>

#include "snapshot/pull/pull-error.h"

namespace belay::snapshot {

namespace {

bool isTransient(const kj::Exception& e) {
  FailureCode code = pullErrorCode(e);
  return code == FailureCode::UNAVAILABLE || code == FailureCode::TIMED_OUT;
}

}  // namespace

kj::Promise<void> BlobDownload::from(RegistryHost& host) {
  if (blob.received > descriptor.sizeBytes) startOver();
  for (int tries = 1; blob.received < descriptor.sizeBytes; ++tries) {
    uint64_t before = blob.received;
    try {
      co_await once(host);
    } catch (const kj::Exception& e) {
      // A connection that broke after it brought something is taken up again at once; one that
      // brings nothing would only be asked in vain.
      if (!isTransient(e) || blob.received <= before || tries == MAX_TRIES) throw;
    }
  }
}

kj::Promise<void> BlobDownload::once(RegistryHost& host) {
  uint64_t asked = blob.received;
  bool begun = false;
  auto answer = co_await host.ask(
      RegistryQuestion{HttpMethod::GET, kj::str("/blobs/", descriptor.digest), "", asked},
      [&](const HttpResponse& head, kj::ArrayPtr<const kj::byte> piece) {
        if (!begun) begin(head);
        begun = true;
        take(piece);
      });
  if (answer.response.status == 416 && asked > 0) {
    // "Range Not Satisfiable": what the endpoint has is no longer than what we have.
    failPull(FailureCode::INVALID, "registry ", host.name(), ": blob ", descriptor.digest,
             ": the endpoint has at most ", asked, " of its ", descriptor.sizeBytes, " bytes");
  }
  if (!answer.isSuccess()) {
    kj::throwFatalException(host.refusal(kj::str("blob ", descriptor.digest), answer));
  }
  if (blob.received < descriptor.sizeBytes) {
    failPull(FailureCode::UNAVAILABLE, "registry ", host.name(), ": blob ", descriptor.digest,
             ": only ", blob.received, " of ", descriptor.sizeBytes, " bytes came");
  }
}

// Looks at the head of an answer: is it the rest, or everything again?
void BlobDownload::begin(const HttpResponse& head) {
  if (blob.received == 0) return;
  if (head.status == 206) {
    auto expected = kj::str("bytes ", blob.received, '-');
    KJ_IF_MAYBE (range, head.header("Content-Range")) {
      if (range->startsWith(expected)) return;
    }
    failPull(FailureCode::INVALID, "blob ", descriptor.digest,
             ": the answer is another part than was asked for");
  }
  startOver();
}

void BlobDownload::take(kj::ArrayPtr<const kj::byte> piece) {
  if (piece.size() > descriptor.sizeBytes - blob.received) {
    failPull(FailureCode::INVALID, "blob ", descriptor.digest, ": more than the ",
             descriptor.sizeBytes, " bytes that the manifest says");
  }
  session.progress(piece.size());
  while (piece.size() > 0) {
    ssize_t n;
    KJ_SYSCALL(n = pwrite(blob.file, piece.begin(), piece.size(), blob.received),
               "writing a blob to the store");
    blob.received += n;
    piece = piece.slice(n, piece.size());
  }
}

void BlobDownload::startOver() {
  KJ_SYSCALL(ftruncate(blob.file, 0));
  blob.received = 0;
}

}  // namespace belay::snapshot
