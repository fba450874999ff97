// See hash.h.
#include "snapshot/pull/hash.h"

#include <kj/debug.h>
#include <unistd.h>

#include "failpoint/failpoint.h"
#include "snapshot/pull/confine.h"
#include "snapshot/pull/pipe-io.h"
#include "snapshot/pull/report.h"
#include "snapshot/pull/sha256.h"

namespace belay::snapshot {

namespace {

constexpr int REPORT_FD = 3;

// The bytes are copied by read and write, not by tee(2): a page still shared with whoever filled
// the pipe could be changed between the hash and the next reader.
kj::String hashInput(Sha256& hash, bool copy) {
  auto buffer = kj::heapArray<kj::byte>(PIPE_CHUNK_BYTES);
  uint64_t total = 0;
  while (size_t n = readSome(STDIN_FILENO, buffer)) {
    auto bytes = buffer.slice(0, n);
    hash.update(bytes);
    if (copy) writeAll(STDOUT_FILENO, bytes);
    total += n;
  }
  return kj::str(hash.finishHex(), ' ', total);
}

}  // namespace

int hashMain() {
  return reportOutcome(REPORT_FD, []() -> kj::Maybe<kj::String> {
    closeAllAbove(REPORT_FD);
    bool copy = isWanted(STDOUT_FILENO);
    if (copy) widenPipe(STDOUT_FILENO);
    Sha256 hash;
    confineToPipes();
    FAILPOINT("pull.hash/before-first-byte");
    return hashInput(hash, copy);
  });
}

}  // namespace belay::snapshot
