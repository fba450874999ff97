// See ingest-server.h.
#include "snapshot/ingest-server.h"

#include <capnp/rpc-twoparty.h>
#include <kj/debug.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "failpoint/failpoint.h"
#include "snapshot/failure.h"
#include "snapshot/image-check.h"

namespace belay::snapshot {

namespace {

// Descriptors in one message; more than the protocol ever sends.
constexpr kj::uint MAX_FDS = 4;

// Of everything that belay-pull has sent and that is not answered yet, in words.
constexpr size_t FLOW_LIMIT_WORDS = (16u << 20) / sizeof(capnp::word);

// Names, environment and configuration of any sensible image fit many times.
constexpr size_t MAX_IMAGE_WORDS = (8u << 20) / sizeof(capnp::word);

constexpr size_t MAX_MESSAGE_BYTES = 4096;

// belay-pull gives up a silent transfer itself, and then tries other hosts: the watch from outside
// is for a process that hangs, and waits longer.
constexpr uint64_t SILENCE_FACTOR = 3;
constexpr kj::Duration SILENCE_MARGIN = 60 * kj::SECONDS;

Code codeFor(FailureCode code) {
  switch (code) {
    case FailureCode::NOT_FOUND:
      return Code::NOT_FOUND;
    case FailureCode::UNAUTHORIZED:
      return Code::UNAUTHENTICATED;
    case FailureCode::UNAVAILABLE:
      return Code::UNAVAILABLE;
    case FailureCode::INVALID:
    case FailureCode::DIGEST_MISMATCH:
      return Code::FAILED_PRECONDITION;
    case FailureCode::TIMED_OUT:
      return Code::DEADLINE_EXCEEDED;
    case FailureCode::UNSUPPORTED:
      return Code::UNIMPLEMENTED;
    case FailureCode::INTERNAL:
      break;
  }
  return Code::INTERNAL;
}

// Some of it was said by a registry: no line breaks or terminal controls into logs.
kj::String printable(kj::StringPtr text) {
  auto result = kj::heapString(text.slice(0).begin(), kj::min(text.size(), MAX_MESSAGE_BYTES));
  for (char& c : result) {
    if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) c = ' ';
  }
  return result;
}

}  // namespace

// A descriptor on its way to the process.
class IngestServer::OpenFile final : public File::Server, public kj::Refcounted {
 public:
  explicit OpenFile(kj::AutoCloseFd fd) : fd(kj::mv(fd)) {}

  kj::Maybe<int> getFd() override {
    if (fd.get() < 0) return nullptr;
    return fd.get();
  }
  // Ours alone; the process has a duplicate.
  void close() { fd = nullptr; }

 private:
  kj::AutoCloseFd fd;
};

// Counts a call that is being served.
class IngestServer::Call {
 public:
  explicit Call(IngestServer& session) : session(session) { ++session.callsRunning; }
  ~Call() {
    --session.callsRunning;
    session.lastHeard = session.helpers.timer().now();
  }
  KJ_DISALLOW_COPY_AND_MOVE(Call);

 private:
  IngestServer& session;
};

class IngestServer::Server final : public Ingest::Server {
 public:
  explicit Server(kj::Own<IngestServer> session) : session(kj::mv(session)) {}

  kj::Promise<void> request(RequestContext context) override {
    Call call(*session);
    auto results = context.getResults();
    results.setRequest(session->pullRequest());
    KJ_IF_MAYBE (archive, session->archive) {
      results.setArchive(kj::heap<OpenFile>(kj::mv(*archive)));
    }
    return kj::READY_NOW;
  }

  kj::Promise<void> blob(BlobContext context) override {
    return session->calls.wrap(session->serveBlob(context));
  }

  kj::Promise<void> blobDone(BlobDoneContext context) override {
    return session->calls.wrap(session->serveBlobDone(context));
  }

  kj::Promise<void> complete(CompleteContext context) override {
    session->acceptResult(context.getParams().getImage());
    return kj::READY_NOW;
  }

  kj::Promise<void> failed(FailedContext context) override {
    auto params = context.getParams();
    session->result.fulfiller->reject(
        failure(codeFor(params.getCode()), printable(params.getMessage())));
    return kj::READY_NOW;
  }

  kj::Promise<void> progress(ProgressContext context) override {
    Call call(*session);
    return kj::READY_NOW;
  }

  kj::Promise<void> plan(PlanContext context) override {
    Call call(*session);
    session->acceptPlan(context.getParams().getImage());
    return kj::READY_NOW;
  }

 private:
  kj::Own<IngestServer> session;
};

IngestServer::IngestServer(Store& store, Helpers& helpers, Downloads& downloads,
                           LayerUnpacker& unpacker, kj::Own<capnp::MallocMessageBuilder> request,
                           kj::Maybe<kj::AutoCloseFd> archive)
    : store(store),
      downloads(downloads),
      helpers(helpers),
      unpacker(unpacker),
      request(kj::mv(request)),
      archive(kj::mv(archive)),
      lease(store.newLease()),
      result(kj::newPromiseAndFulfiller<kj::Own<capnp::MallocMessageBuilder>>()),
      lastHeard(helpers.timer().now()) {}

kj::Promise<kj::Own<capnp::MallocMessageBuilder>> IngestServer::run(kj::StringPtr mode) {
  int ends[2];
  KJ_SYSCALL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends));
  kj::AutoCloseFd ours(ends[0]);
  kj::AutoCloseFd theirs(ends[1]);
  auto child = helpers.start(kj::arr(mode), kj::arr(Command::Descriptor{3, theirs.get()}));
  theirs = nullptr;

  auto stream = helpers.ioProvider().wrapUnixSocketFd(kj::mv(ours));
  capnp::TwoPartyVatNetwork network(*stream, MAX_FDS, capnp::rpc::twoparty::Side::SERVER);
  auto rpc = capnp::makeRpcServer(network, Ingest::Client(kj::heap<Server>(kj::addRef(*this))));
  rpc.setFlowLimit(FLOW_LIMIT_WORDS);
  KJ_DEFER(end(*child));

  auto died = network.onDisconnect()
                  .then([&child]() { return child->wait(); })
                  .then([mode](ExitStatus status) -> kj::Own<capnp::MallocMessageBuilder> {
                    fail(Code::INTERNAL, "belay-pull ", mode, " ended with ", status.describe(),
                         " before it had a result");
                  });
  auto silent = watchSilence().then([]() -> kj::Own<capnp::MallocMessageBuilder> {
    fail(Code::DEADLINE_EXCEEDED, "belay-pull hangs: nothing was heard of it for too long");
  });
  co_return co_await result.promise.exclusiveJoin(kj::mv(died)).exclusiveJoin(kj::mv(silent));
}

void IngestServer::end(Child& child) {
  calls.cancel("the pull has ended");
  for (auto& entry : transfers) {
    downloads.releaseAfter(child.wait().ignoreResult(), kj::mv(entry.value.claim));
  }
  transfers.clear();
}

kj::Promise<void> IngestServer::serveBlob(BlobContext context) {
  Call call(*this);
  auto digest = Digest::parse(context.getParams().getDigest(), "blob");
  uint64_t sizeBytes = context.getParams().getSizeBytes();
  context.releaseParams();
  if (sizeBytes > pullRequest().getMaxBlobBytes()) {
    fail(Code::FAILED_PRECONDITION, "blob ", digest, " has ", sizeBytes, " bytes; at most ",
         pullRequest().getMaxBlobBytes(), " are taken");
  }
  lease->addBlob(digest);
  CO_FAILPOINT(helpers.timer(), "belayd.pull-image/before-blob-transfer");
  for (;;) {
    KJ_IF_MAYBE (file, store.openBlob(digest)) {
      auto results = context.getResults();
      results.setPresent(true);
      results.setFile(kj::refcounted<OpenFile>(kj::mv(*file)));
      co_return;
    }
    KJ_IF_MAYBE (claim, downloads.tryClaim(digest)) {
      auto ingest = co_await store.openIngest(digest);
      auto file = kj::refcounted<OpenFile>(kj::mv(ingest.file));
      auto results = context.getResults();
      results.setOffsetBytes(ingest.offsetBytes);
      results.setFile(kj::addRef(*file));
      transfers.insert(digest, Transfer{kj::mv(*claim), kj::mv(file), sizeBytes});
      co_return;
    }
    // Another pull downloads it, or this one does already.
    co_await downloads.whenFree(digest);
  }
}

kj::Promise<void> IngestServer::serveBlobDone(BlobDoneContext context) {
  Call call(*this);
  auto digest = Digest::parse(context.getParams().getDigest(), "blob");
  context.releaseParams();
  kj::Maybe<kj::Exception> failed;
  KJ_IF_MAYBE (transfer, transfers.find(digest)) {
    transfer->file->close();
    try {
      co_await store.commitBlob(digest, transfer->sizeBytes);
    } catch (...) {
      failed = kj::getCaughtExceptionAsKj();
    }
    transfers.erase(digest);
  } else {
    fail(Code::FAILED_PRECONDITION, "blob ", digest, " was not being written");
  }
  KJ_IF_MAYBE (exception, failed) {
    // This is the pull's failure; what belay-pull would make of it has lost its code.
    result.fulfiller->reject(kj::cp(*exception));
    kj::throwFatalException(kj::mv(*exception));
  }
  KJ_IF_MAYBE (file, store.openBlob(digest)) {
    context.getResults().setFile(kj::refcounted<OpenFile>(kj::mv(*file)));
  }
}

void IngestServer::acceptPlan(Image::Reader image) {
  if (unpacking != nullptr) return;
  auto layers = checkLayers(image, pullRequest().getMaxLayers());
  for (auto& layer : layers)
    lease->addLayer(layer.chainId);
  unpacking = unpacker.unpack(kj::mv(layers)).eagerlyEvaluate([this](kj::Exception&& exception) {
    // No need to wait for the rest of a broken image.
    result.fulfiller->reject(kj::mv(exception));
  });
}

void IngestServer::acceptResult(Image::Reader image) {
  if (image.totalSize().wordCount > MAX_IMAGE_WORDS) {
    result.fulfiller->reject(
        failure(Code::FAILED_PRECONDITION, "the image's configuration is too large"));
    return;
  }
  auto message = kj::heap<capnp::MallocMessageBuilder>();
  message->setRoot(image);
  result.fulfiller->fulfill(kj::mv(message));
}

kj::Promise<void> IngestServer::watchSilence() {
  kj::Duration limit =
      pullRequest().getStallTimeoutMs() * SILENCE_FACTOR * kj::MILLISECONDS + SILENCE_MARGIN;
  uint64_t written = 0;
  for (;;) {
    co_await helpers.timer().afterDelay(limit / 4);
    // A slow registry is no hang: files that grow are heard of, too. And a call that is being
    // served waits for us, not we for it.
    uint64_t now = bytesWritten();
    if (now != written || callsRunning > 0) lastHeard = helpers.timer().now();
    written = now;
    if (helpers.timer().now() - lastHeard > limit) co_return;
  }
}

uint64_t IngestServer::bytesWritten() {
  uint64_t total = 0;
  for (auto& entry : transfers) {
    KJ_IF_MAYBE (fd, entry.value.file->getFd()) {
      struct stat stats;
      KJ_SYSCALL(fstat(*fd, &stats));
      total += stats.st_size;
    }
  }
  return total;
}

}  // namespace belay::snapshot
