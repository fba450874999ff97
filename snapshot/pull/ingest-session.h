// The socket to belayd: the Ingest capability of pull.capnp in C++ terms, for fetch and import.
#pragma once

#include <capnp/message.h>
#include <capnp/rpc-twoparty.h>
#include <kj/async-io.h>
#include <kj/io.h>
#include <kj/map.h>

#include "snapshot/digest.h"
#include "snapshot/pull.capnp.h"

namespace belay::snapshot {

// Calls to belayd run to their end even when the promise for them is dropped: a cancelled call
// could close the descriptor in its answer before the answer is sent, which breaks the whole
// connection, and with it the report of why the pull failed.
class IngestSession final : private kj::TaskSet::ErrorHandler {
 public:
  // `socket` is one end of a Unix socket pair. `io` must outlive the session.
  IngestSession(kj::LowLevelAsyncIoProvider& io, kj::AutoCloseFd socket);

  // What is to be brought. The readers are valid as long as the session is. To be called once,
  // first.
  kj::Promise<PullRequest::Reader> request();

  // The archive that came with the request.
  kj::AutoCloseFd takeArchive();

  // A blob on its way into the store.
  struct Partial {
    uint64_t received;     // bytes that are there already, from an earlier try or by now
    kj::AutoCloseFd file;  // open for writing
  };

  // Asks for a blob: its file, open for reading, when the store has it; else null, and partial() is
  // where its bytes go. Asking again before done() gives null again.
  kj::Promise<kj::Maybe<kj::AutoCloseFd>> open(Digest digest, uint64_t sizeBytes);
  // Valid until done().
  Partial& partial(const Digest& digest);

  // Hands a finished blob over to be verified; the file it resolves to is open for reading. Throws
  // a pull error DIGEST_MISMATCH when belayd found other bytes than the digest says; the blob has
  // to be asked for again then.
  kj::Promise<kj::AutoCloseFd> done(Digest digest);

  // Stores small bytes already in memory, unless they are there. `bytes` outlive the promise.
  kj::Promise<void> store(Digest digest, kj::ArrayPtr<const kj::byte> bytes);

  // The image that complete() will bring, for belayd to begin with.
  kj::Promise<void> plan(Image::Reader image);
  kj::Promise<void> complete(kj::Own<capnp::MallocMessageBuilder> image);
  kj::Promise<void> failed(kj::Exception exception);

  // The whole conversation of a mode: gets the request, runs `work` on it, and reports what that
  // throws by failed(). Returns the exit status.
  int serve(kj::WaitScope& waitScope,
            kj::Function<kj::Promise<void>(PullRequest::Reader request)> work);

  // Counts bytes; belayd is told of them now and then. Never fails.
  void progress(uint64_t bytes);

 private:
  kj::Promise<kj::AutoCloseFd> fileOf(File::Client file);
  kj::Promise<kj::Maybe<kj::AutoCloseFd>> askForBlob(Digest digest, uint64_t sizeBytes);
  kj::Promise<kj::AutoCloseFd> handOver(Digest digest);
  template <typename T>
  kj::Promise<T> toTheEnd(kj::Promise<T> call);
  void taskFailed(kj::Exception&& exception) override;

  kj::Own<kj::AsyncCapabilityStream> stream;
  capnp::TwoPartyClient rpc;
  Ingest::Client ingest;
  kj::Maybe<capnp::Response<Ingest::RequestResults>> answer;
  kj::AutoCloseFd archive;
  // Owned apart from the table, which moves its rows when it grows.
  kj::HashMap<Digest, kj::Own<Partial>> partials;
  uint64_t unreported = 0;
  bool reporting = false;
  kj::Promise<void> reports = kj::READY_NOW;
  kj::TaskSet calls{*this};
};

// All bytes of a file of at most `maxBytes`.
kj::Array<const kj::byte> readWholeFile(int fd, uint64_t maxBytes);

}  // namespace belay::snapshot
