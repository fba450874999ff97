// One belay-pull process that brings an image, seen from belayd: the server of pull.capnp's Ingest.
#pragma once

#include <capnp/message.h>
#include <kj/async.h>
#include <kj/map.h>
#include <kj/refcount.h>

#include "snapshot/downloads.h"
#include "snapshot/helpers.h"
#include "snapshot/layer-unpacker.h"
#include "snapshot/pull.capnp.h"
#include "snapshot/store.h"

namespace belay::snapshot {

// Serves one process, whose every word may be a lie: it gets files by digest alone, and what it
// wrote into them counts only once its digest was verified.
class IngestServer : public kj::Refcounted {
 public:
  // `request` holds a PullRequest; `archive` is for the mode import. The references outlive the
  // session.
  IngestServer(Store& store, Helpers& helpers, Downloads& downloads, LayerUnpacker& unpacker,
               kj::Own<capnp::MallocMessageBuilder> request, kj::Maybe<kj::AutoCloseFd> archive);

  // Runs `belay-pull MODE` to its result: a message whose root is the Image as the process tells
  // it, with all blobs that it asked for in the store. Throws what the process reported, or
  // INTERNAL when it died before, or DEADLINE_EXCEEDED when nothing at all was heard of it for too
  // long. Dropping the promise kills it. Downloads begun stay for the next try.
  //
  // Layers are unpacked as they come. What was begun of them goes on for as long as this object
  // lives: keep it until they were all asked for again.
  kj::Promise<kj::Own<capnp::MallocMessageBuilder>> run(kj::StringPtr mode);

  // Protects the blobs of this session from collection.
  kj::Own<Store::Lease> takeLease() { return kj::mv(lease); }

 private:
  using BlobContext = capnp::CallContext<Ingest::BlobParams, Ingest::BlobResults>;
  using BlobDoneContext = capnp::CallContext<Ingest::BlobDoneParams, Ingest::BlobDoneResults>;
  class Server;
  class OpenFile;
  class Call;

  // A blob that the process is writing.
  struct Transfer {
    kj::Own<Downloads::Claim> claim;
    kj::Own<OpenFile> file;
    uint64_t sizeBytes;
  };

  Store& store;
  Downloads& downloads;
  Helpers& helpers;
  LayerUnpacker& unpacker;
  kj::Own<capnp::MallocMessageBuilder> request;
  kj::Maybe<kj::AutoCloseFd> archive;
  kj::Own<Store::Lease> lease;
  kj::HashMap<Digest, Transfer> transfers;
  kj::PromiseFulfillerPair<kj::Own<capnp::MallocMessageBuilder>> result;

  // For the watch on silence.
  kj::uint callsRunning = 0;
  kj::TimePoint lastHeard;

  // Layers that are unpacked before the image is complete.
  kj::Maybe<kj::Promise<void>> unpacking;

  // Ends the calls when the session ends, whoever still holds the RPC server.
  kj::Canceler calls;

  PullRequest::Reader pullRequest() { return request->getRoot<PullRequest>().asReader(); }
  kj::Promise<void> serveBlob(BlobContext context);
  kj::Promise<void> serveBlobDone(BlobDoneContext context);
  void acceptPlan(Image::Reader image);
  void acceptResult(Image::Reader image);
  kj::Promise<void> watchSilence();
  uint64_t bytesWritten();
  void end(Child& child);
};

}  // namespace belay::snapshot
