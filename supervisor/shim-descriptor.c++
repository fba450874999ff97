// See shim-descriptor.h.
#include "supervisor/shim-descriptor.h"

#include <fcntl.h>
#include <kj/debug.h>

#include "snapshot/failure.h"

namespace belay::supervisor {

kj::Promise<kj::AutoCloseFd> receiveDescriptor(shim::File::Client file) {
  auto received = co_await file.getFd();
  KJ_IF_MAYBE (fd, received) {
    int copy;
    KJ_SYSCALL(copy = fcntl(*fd, F_DUPFD_CLOEXEC, 0));
    co_return kj::AutoCloseFd(copy);
  }
  snapshot::fail(snapshot::Code::INTERNAL, "the shim's answer came without its file descriptors");
}

}  // namespace belay::supervisor
