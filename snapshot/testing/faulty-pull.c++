// A belay-pull for tests whose fetch brings images of its own making and misbehaves on demand. The
// repository asked for is the scenario (see main); all other modes are those of the real binary.
#include <capnp/rpc-twoparty.h>
#include <fcntl.h>
#include <kj/async-io.h>
#include <kj/debug.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "snapshot/pull.capnp.h"
#include "snapshot/testing/test-image.h"

namespace belay::snapshot {
namespace {

// A decompressor that is told this dies at it.
constexpr kj::StringPtr DEADLY_MEDIA_TYPE = "application/vnd.test.deadly"_kj;

struct Fetch {
  kj::AsyncIoContext io = kj::setupAsyncIo();
  kj::Own<kj::AsyncCapabilityStream> stream =
      io.lowLevelProvider->wrapUnixSocketFd(kj::AutoCloseFd(3));
  capnp::TwoPartyClient rpc{*stream, 2};
  Ingest::Client ingest = rpc.bootstrap().castAs<Ingest>();
  kj::String scenario;
  kj::String fifo;

  // Tells the test by its FIFO that a place is reached. Opening waits for the test to read.
  void reached() { kj::AutoCloseFd(open(fifo.cStr(), O_WRONLY | O_CLOEXEC)); }

  [[noreturn]] void hang() {
    reached();
    for (;;)
      pause();
  }

  struct File {
    kj::AutoCloseFd fd;
    uint64_t offset;
    bool present;
  };

  File ask(const TestBlob& blob) {
    auto call = ingest.blobRequest();
    call.setDigest(blob.digest.text());
    call.setSizeBytes(blob.bytes.size());
    auto response = call.send().wait(io.waitScope);
    int fd = KJ_ASSERT_NONNULL(response.getFile().getFd().wait(io.waitScope));
    return {kj::AutoCloseFd(dup(fd)), response.getOffsetBytes(), response.getPresent()};
  }

  void done(const TestBlob& blob) {
    auto call = ingest.blobDoneRequest();
    call.setDigest(blob.digest.text());
    call.send().wait(io.waitScope);
  }

  void bring(const TestBlob& blob) {
    File file = ask(blob);
    if (file.present) return;
    if (scenario == "must-have-all") _exit(7);
    bool large = blob.bytes.size() > 4000;
    if (large && scenario == "must-resume") {
      // The layer at which the other scenarios stop; those after it start afresh.
      KJ_ASSERT(file.offset > 0);
      scenario = kj::str("good");
    }
    auto rest = blob.bytes.slice(file.offset, blob.bytes.size());
    auto half = rest.slice(0, rest.size() / 2);
    KJ_ASSERT(pwrite(file.fd, half.begin(), half.size(), file.offset) == half.size());
    if (large && scenario == "crash-mid-blob") raise(SIGKILL);
    if (large && scenario == "hang-mid-blob") hang();
    rest = rest.slice(half.size(), rest.size());
    if (large && scenario == "wrong-bytes") {
      auto wrong = kj::heapArray<kj::byte>(rest.size());
      memset(wrong.begin(), 'x', wrong.size());
      KJ_ASSERT(pwrite(file.fd, wrong.begin(), wrong.size(), file.offset + half.size()) > 0);
    } else {
      KJ_ASSERT(pwrite(file.fd, rest.begin(), rest.size(), file.offset + half.size()) ==
                rest.size());
    }
    if (scenario != "holds-the-file") file.fd = nullptr;
    done(blob);
  }

  void plan(const TestImage& image) {
    auto call = ingest.planRequest();
    image.fill(call.initImage());
    call.send().wait(io.waitScope);
  }

  void complete(const TestImage& image) {
    auto call = ingest.completeRequest();
    auto told = call.initImage();
    image.fill(told);
    if (scenario == "wrong-diff-id") {
      auto wrong = Digest::of("something else"_kj.asBytes());
      told.getLayers()[0].setDiffId(wrong.text());
      told.getLayers()[0].setChainId(wrong.text());
      auto second = Digest::parse(told.getLayers()[1].getDiffId(), "diff id");
      told.getLayers()[1].setChainId(chainIdUpon(wrong, second).text());
    }
    if (scenario == "wrong-chain-id") {
      told.getLayers()[1].setChainId(told.getLayers()[0].getChainId());
    }
    if (scenario == "names-other-blob") {
      told.setManifestDigest(Digest::of("absent"_kj.asBytes()).text());
    }
    if (scenario == "crash-in-unpacking") told.getLayers()[1].setMediaType(DEADLY_MEDIA_TYPE);
    if (scenario == "path-as-id") told.setId("sha256:../../../../etc/passwd");
    call.send().wait(io.waitScope);
  }

  int run() {
    auto response = ingest.requestRequest().send().wait(io.waitScope);
    auto request = response.getRequest();
    scenario = kj::str(request.getRepository());
    if (request.getCredentials().isBasic()) {
      fifo = kj::str(request.getCredentials().getBasic().getUsername());
    }
    if (scenario == "dies-at-once") return 3;
    if (scenario == "hang-at-once") hang();
    if (scenario == "refuses") {
      auto call = ingest.failedRequest();
      call.setCode(FailureCode::NOT_FOUND);
      call.setMessage("registry: no such thing \x1b[31m\n");
      call.send().wait(io.waitScope);
      return 1;
    }
    if (scenario == "writes-a-path") {
      auto call = ingest.blobRequest();
      call.setDigest("sha256:../../../../../../tmp/x");
      call.send().wait(io.waitScope);
    }
    if (scenario == "asks-too-much") {
      auto call = ingest.blobRequest();
      call.setDigest(Digest::of("big"_kj.asBytes()).text());
      call.setSizeBytes(request.getMaxBlobBytes() + 1);
      call.send().wait(io.waitScope);
    }
    bool other = scenario == "other-image";
    TestImage image(kj::arr("base"_kj, other ? "other"_kj : "top"_kj), 100'000);
    if (scenario == "not-a-layer") {
      image.layers[1].bytes = kj::heapArray("this is no tar at all, whatever it says"_kj.asBytes());
      image.layers[1].digest = Digest::of(image.layers[1].bytes);
    }
    if (scenario == "plans-and-crashes") {
      bring(image.layers[0]);
      plan(image);
      bring(image.layers[1]);
      raise(SIGKILL);
    }
    if (scenario == "plans-another-image") plan(TestImage(kj::arr("planned"_kj)));
    if (scenario == "plans") plan(image);
    for (const TestBlob* blob : image.blobs())
      bring(*blob);
    if (scenario == "hang-at-the-end") hang();
    complete(image);
    return 0;
  }
};

[[noreturn]] void becomeTheRealOne(char** argv) {
  // Beside this program in Bazel's output tree.
  char path[4096];
  ssize_t size = readlink("/proc/self/exe", path, sizeof(path) - 1);
  KJ_ASSERT(size > 0);
  path[size] = 0;
  *strrchr(path, '/') = 0;
  auto real = kj::str(path, "/../pull/belay-pull");
  execv(real.cStr(), argv);
  _exit(126);
}

}  // namespace
}  // namespace belay::snapshot

int main(int argc, char** argv) {
  if (argc == 3 && argv[2] == belay::snapshot::DEADLY_MEDIA_TYPE) raise(SIGKILL);
  if (argc != 2 || strcmp(argv[1], "fetch") != 0) belay::snapshot::becomeTheRealOne(argv);
  return belay::snapshot::Fetch().run();
}
