// A file descriptor on its way to another process.
#pragma once

#include <kj/io.h>

#include "shim/shim.capnp.h"

namespace belay::shim {

// Holds the descriptor until the receiver drops the capability: it must stay open at least until
// the message has really been sent.
class FileServer final : public File::Server {
 public:
  explicit FileServer(kj::AutoCloseFd fd) : fd(kj::mv(fd)) {}
  kj::Maybe<int> getFd() override { return fd.get(); }

 private:
  kj::AutoCloseFd fd;
};

}  // namespace belay::shim
