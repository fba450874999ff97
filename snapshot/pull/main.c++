// belay-pull: everything of an image pull that reads strangers' bytes, one mode for each process.
// belayd starts it (pull.capnp says with which descriptors); a person has no use for it.
#include <kj/exception.h>
#include <kj/string.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "failpoint/failpoint.h"
#include "snapshot/pull/decompress.h"
#include "snapshot/pull/disk-modes.h"
#include "snapshot/pull/fetch.h"
#include "snapshot/pull/hash.h"
#include "snapshot/pull/import.h"
#include "snapshot/pull/unpack.h"

namespace {

constexpr const char* USAGE =
    "usage: belay-pull fetch|import|hash|unpack|remove|measure|sync\n"
    "       belay-pull decompress MEDIATYPE\n"
    "belayd runs this program with descriptors prepared; it is of no use by hand.\n";

int runMode(int argc, char** argv) {
  using namespace belay::snapshot;
  const char* mode = argc > 1 ? argv[1] : "";
  if (strcmp(mode, "fetch") == 0 && argc == 2) return fetchMain();
  if (strcmp(mode, "import") == 0 && argc == 2) return importMain();
  if (strcmp(mode, "hash") == 0 && argc == 2) return hashMain();
  if (strcmp(mode, "decompress") == 0 && argc == 3) return decompressMain(argv[2]);
  if (strcmp(mode, "unpack") == 0 && argc == 2) return unpackMain();
  if (strcmp(mode, "remove") == 0 && argc == 2) return removeMain();
  if (strcmp(mode, "measure") == 0 && argc == 2) return measureMain();
  if (strcmp(mode, "sync") == 0 && argc == 2) return syncMain();
  fputs(USAGE, stderr);
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  // A reader that goes away is an error to report, not a death without words.
  signal(SIGPIPE, SIG_IGN);
  int status = 1;
  KJ_IF_MAYBE (e, kj::runCatchingExceptions([&]() {
                 belay::failpoint::readEnvironment("pull.");
                 status = runMode(argc, argv);
               })) {
    fprintf(stderr, "belay-pull: %s\n", kj::str(*e).cStr());
  }
  // No exit handlers: the libraries' clean-up makes system calls that the filters refuse.
  fflush(nullptr);
  _exit(status);
}
