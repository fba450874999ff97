// See report.h.
#include "snapshot/pull/report.h"

#include <fcntl.h>
#include <kj/debug.h>
#include <kj/io.h>
#include <unistd.h>

#include "snapshot/pull/pull-error.h"

namespace belay::snapshot {

namespace {

void writeLine(int reportFd, kj::StringPtr text) {
  int fd = fcntl(reportFd, F_GETFD) >= 0 ? reportFd : STDERR_FILENO;
  kj::FdOutputStream(fd).write(kj::str(text, "\n").asBytes().begin(), text.size() + 1);
}

}  // namespace

int reportOutcome(int reportFd, kj::Function<kj::Maybe<kj::String>()> work) {
  KJ_IF_MAYBE (e, kj::runCatchingExceptions([&]() {
                 KJ_IF_MAYBE (line, work()) {
                   writeLine(reportFd, *line);
                 }
               })) {
    // A reader that is gone can be told nothing; the exit status still speaks.
    kj::runCatchingExceptions(
        [&]() { writeLine(reportFd, kj::str("failed ", pullErrorSentence(*e))); });
    return 1;
  }
  return 0;
}

}  // namespace belay::snapshot
