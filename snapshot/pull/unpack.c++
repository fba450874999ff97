// See unpack.h.
#include "snapshot/pull/unpack.h"

#include <kj/debug.h>
#include <sys/stat.h>
#include <unistd.h>

#include "failpoint/failpoint.h"
#include "snapshot/pull/confine.h"
#include "snapshot/pull/pull-error.h"
#include "snapshot/pull/report.h"

namespace belay::snapshot {

namespace {

constexpr int FOLDER_FD = 3;
constexpr int REPORT_FD = 4;

// Writers pad an archive to their record size, 10 KiB by default and seldom more than a megabyte.
constexpr uint64_t MAX_TRAILING_BYTES = uint64_t{64} << 20;

}  // namespace

UnpackResult unpackLayer(kj::InputStream& input, kj::AutoCloseFd root, LayerLimits limits) {
  TarReader reader(input);
  LayerWriter writer(kj::mv(root), limits);
  for (;;) {
    KJ_IF_MAYBE (entry, reader.next()) {
      FAILPOINT("pull.unpack/before-entry");
      try {
        writer.add(*entry, reader);
      } catch (const kj::Exception& e) {
        failPull(pullErrorCode(e), "unpacking ", oneLine(entry->path, 256), ": ",
                 pullErrorSentence(e));
      }
    } else {
      break;
    }
  }
  // The hasher upstream must see the whole stream go by before its digest means anything.
  reader.drain(MAX_TRAILING_BYTES);
  writer.finish();
  return {writer.entries(), writer.contentBytes()};
}

int unpackMain() {
  return reportOutcome(REPORT_FD, []() -> kj::Maybe<kj::String> {
    closeAllAbove(REPORT_FD);
    umask(0);
    kj::AutoCloseFd root = confineToFolder(kj::AutoCloseFd(FOLDER_FD));
    kj::FdInputStream input(STDIN_FILENO);
    FAILPOINT("pull.unpack/before-first-entry");
    UnpackResult result = unpackLayer(input, kj::mv(root));
    FAILPOINT("pull.unpack/before-report");
    return kj::str("ok ", result.entries, ' ', result.contentBytes);
  });
}

}  // namespace belay::snapshot
