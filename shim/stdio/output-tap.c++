// Implementation of output-tap.h.
#include "shim/stdio/output-tap.h"

#include <errno.h>
#include <unistd.h>

#include "shim/stdio/descriptors.h"

namespace belay::shim {

OutputTap::OutputTap() {
  auto pipe = makePipe();
  setNonBlocking(pipe.readEnd);
  setNonBlocking(pipe.writeEnd);
  size = growPipe(pipe.writeEnd, BUFFER);
  readEnd = kj::mv(pipe.readEnd);
  writeEnd = kj::mv(pipe.writeEnd);
  auto paf = kj::newPromiseAndFulfiller<void>();
  overrunFulfiller = kj::mv(paf.fulfiller);
  overrun = kj::mv(paf.promise);
}

void OutputTap::pass(kj::ArrayPtr<const kj::byte> bytes) {
  while (isOpen() && bytes.size() > 0) {
    ssize_t count = write(writeEnd, bytes.begin(), bytes.size());
    if (count >= 0) {
      bytes = bytes.slice(count, bytes.size());
    } else if (errno != EINTR) {
      // EPIPE: the client has gone, and needs no word.
      if (errno != EPIPE) overrunFulfiller->fulfill();
      close();
    }
  }
}

}  // namespace belay::shim
