// One blob from one endpoint into the file that belayd handed over, picking up what an earlier try
// has left.
#pragma once

#include "snapshot/pull/ingest-session.h"
#include "snapshot/pull/manifest.h"
#include "snapshot/pull/registry-host.h"

namespace belay::snapshot {

class BlobDownload {
 public:
  // Connections to one endpoint for one blob, as long as each brings something.
  static constexpr int MAX_TRIES = 10;

  // All must outlive the download. `blob.received` is kept up to
  // date, so that another endpoint can go on where this one failed.
  BlobDownload(IngestSession& session, const Descriptor& descriptor, IngestSession::Partial& blob)
      : session(session), descriptor(descriptor), blob(blob) {}

  // Resolves when the file has as many bytes as the descriptor says; whether they are the right
  // ones belayd will find. Throws pull errors: NOT_FOUND and so on for refusals, INVALID when more
  // bytes come, UNAVAILABLE when the endpoint fails without bringing anything new.
  kj::Promise<void> from(RegistryHost& host);

 private:
  kj::Promise<void> once(RegistryHost& host);
  void begin(const HttpResponse& head);
  void take(kj::ArrayPtr<const kj::byte> piece);
  void startOver();

  IngestSession& session;
  const Descriptor& descriptor;
  IngestSession::Partial& blob;
};

}  // namespace belay::snapshot
