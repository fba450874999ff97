// Implementation of output-tap.h.
#include "shim/stdio/output-tap.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "shim/stdio/descriptors.h"

namespace belay::shim {

namespace {

Pipe makeTapPipe() {
  auto pipe = makePipe();
  setNonBlocking(pipe.readEnd);
  setNonBlocking(pipe.writeEnd);
  growPipe(pipe.writeEnd, OutputTap::BUFFER);
  return pipe;
}

}  // namespace

OutputTap::OutputTap() : OutputTap(makeTapPipe()) {}

OutputTap::OutputTap(Pipe pipe) : OutputTap(kj::mv(pipe.writeEnd)) {
  readEnd = kj::mv(pipe.readEnd);
}

OutputTap::OutputTap(kj::AutoCloseFd fd) : writeEnd(kj::mv(fd)) {
  // Negative for one that is closed already.
  int capacity = fcntl(writeEnd, F_GETPIPE_SZ);
  size = kj::max(capacity, 0);
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
