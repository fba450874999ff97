// See ingest-session.h.
#include "snapshot/pull/ingest-session.h"

#include <fcntl.h>
#include <kj/debug.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot/pull/pull-error.h"

namespace belay::snapshot {

namespace {

// One file at most travels with a message of ours.
constexpr unsigned MAX_FDS_PER_MESSAGE = 2;
// belayd hears of progress at this grain, which is some ten times a second on a fast network.
constexpr uint64_t PROGRESS_BYTES = 8 << 20;

template <typename T>
kj::Promise<void> forward(kj::Promise<T> call, kj::Own<kj::PromiseFulfiller<T>> fulfiller) {
  try {
    fulfiller->fulfill(co_await call);
  } catch (const kj::Exception& e) {
    fulfiller->reject(kj::cp(e));
  }
}

}  // namespace

IngestSession::IngestSession(kj::LowLevelAsyncIoProvider& io, kj::AutoCloseFd socket)
    : stream(io.wrapUnixSocketFd(kj::mv(socket))),
      rpc(*stream, MAX_FDS_PER_MESSAGE),
      ingest(rpc.bootstrap().castAs<Ingest>()) {}

kj::Promise<PullRequest::Reader> IngestSession::request() {
  auto response = co_await ingest.requestRequest().send();
  if (response.hasArchive()) archive = co_await fileOf(response.getArchive());
  auto reader = response.getRequest();
  answer = kj::mv(response);
  co_return reader;
}

kj::AutoCloseFd IngestSession::takeArchive() {
  KJ_REQUIRE(archive != nullptr, "belayd sent no archive");
  return kj::mv(archive);
}

kj::Promise<kj::AutoCloseFd> IngestSession::fileOf(File::Client file) {
  KJ_IF_MAYBE (fd, co_await file.getFd()) {
    // The descriptor belongs to the capability.
    int own;
    KJ_SYSCALL(own = fcntl(*fd, F_DUPFD_CLOEXEC, 0));
    co_return kj::AutoCloseFd(own);
  }
  KJ_FAIL_REQUIRE("belayd sent a file without a descriptor");
}

template <typename T>
kj::Promise<T> IngestSession::toTheEnd(kj::Promise<T> call) {
  auto result = kj::newPromiseAndFulfiller<T>();
  calls.add(forward(kj::mv(call), kj::mv(result.fulfiller)));
  return kj::mv(result.promise);
}

kj::Promise<kj::Maybe<kj::AutoCloseFd>> IngestSession::open(Digest digest, uint64_t sizeBytes) {
  if (partials.find(digest) != nullptr) return kj::Maybe<kj::AutoCloseFd>(nullptr);
  return toTheEnd(askForBlob(digest, sizeBytes));
}

kj::Promise<kj::Maybe<kj::AutoCloseFd>> IngestSession::askForBlob(Digest digest,
                                                                  uint64_t sizeBytes) {
  auto call = ingest.blobRequest();
  call.setDigest(digest.text());
  call.setSizeBytes(sizeBytes);
  auto response = co_await call.send();
  kj::AutoCloseFd file = co_await fileOf(response.getFile());
  if (response.getPresent()) co_return kj::mv(file);
  partials.insert(digest, kj::heap(Partial{response.getOffsetBytes(), kj::mv(file)}));
  co_return nullptr;
}

IngestSession::Partial& IngestSession::partial(const Digest& digest) {
  return *KJ_REQUIRE_NONNULL(partials.find(digest), "the blob was not asked for", digest);
}

kj::Promise<kj::AutoCloseFd> IngestSession::done(Digest digest) {
  // belayd verifies a file only when nobody can write it any more.
  partials.erase(digest);
  return toTheEnd(handOver(digest));
}

kj::Promise<kj::AutoCloseFd> IngestSession::handOver(Digest digest) {
  auto call = ingest.blobDoneRequest();
  call.setDigest(digest.text());
  try {
    auto response = co_await call.send();
    co_return co_await fileOf(response.getFile());
  } catch (const kj::Exception& e) {
    if (e.getType() == kj::Exception::Type::DISCONNECTED) throw;
    failPull(FailureCode::DIGEST_MISMATCH, "blob ", digest,
             " was refused by the store: ", e.getDescription());
  }
}

kj::Promise<void> IngestSession::store(Digest digest, kj::ArrayPtr<const kj::byte> bytes) {
  if (co_await open(digest, bytes.size()) != nullptr) co_return;
  Partial& target = partial(digest);
  KJ_SYSCALL(ftruncate(target.file, 0));
  size_t written = 0;
  while (written < bytes.size()) {
    ssize_t n;
    KJ_SYSCALL(n = pwrite(target.file, bytes.begin() + written, bytes.size() - written, written));
    written += n;
  }
  co_await done(digest);
}

kj::Promise<void> IngestSession::plan(Image::Reader image) {
  auto call = ingest.planRequest();
  call.setImage(image);
  co_await call.send();
}

kj::Promise<void> IngestSession::complete(kj::Own<capnp::MallocMessageBuilder> image) {
  co_await reports;
  auto call = ingest.completeRequest();
  call.setImage(image->getRoot<Image>());
  co_await call.send();
}

kj::Promise<void> IngestSession::failed(kj::Exception exception) {
  auto call = ingest.failedRequest();
  call.setCode(pullErrorCode(exception));
  call.setMessage(pullErrorSentence(exception));
  co_await call.send();
}

void IngestSession::taskFailed(kj::Exception&& exception) {
  // forward() hands every failure on.
  KJ_LOG(ERROR, "a call to belayd failed unheard", exception);
}

int IngestSession::serve(kj::WaitScope& waitScope,
                         kj::Function<kj::Promise<void>(PullRequest::Reader)> work) {
  auto reader = request().wait(waitScope);
  KJ_IF_MAYBE (e, kj::runCatchingExceptions([&]() { work(reader).wait(waitScope); })) {
    failed(kj::mv(*e)).wait(waitScope);
    return 1;
  }
  return 0;
}

void IngestSession::progress(uint64_t bytes) {
  unreported += bytes;
  // One report at a time: a belayd that is busy gets fewer and larger ones.
  if (reporting || unreported < PROGRESS_BYTES) return;
  reporting = true;
  auto call = ingest.progressRequest();
  call.setBytes(unreported);
  unreported = 0;
  reports = call.send()
                .ignoreResult()
                .then([this]() { reporting = false; }, [](kj::Exception&&) {})
                .eagerlyEvaluate(nullptr);
}

kj::Array<const kj::byte> readWholeFile(int fd, uint64_t maxBytes) {
  struct stat status;
  KJ_SYSCALL(fstat(fd, &status));
  KJ_REQUIRE(uint64_t(status.st_size) <= maxBytes, "the file is too large", status.st_size);
  auto bytes = kj::heapArray<kj::byte>(status.st_size);
  size_t done = 0;
  while (done < bytes.size()) {
    ssize_t n;
    KJ_SYSCALL(n = pread(fd, bytes.begin() + done, bytes.size() - done, done));
    KJ_REQUIRE(n > 0, "the file became shorter while it was read");
    done += n;
  }
  return bytes;
}

}  // namespace belay::snapshot
