// A descriptor that a stream's bytes come from or go to: a pipe's end, a pty master, a socket.
#pragma once

#include <kj/async-unix.h>
#include <kj/io.h>

#include "criapi/streaming/stream.h"

namespace belay::criapi::streaming {

class StreamFd final : public ByteSource {
 public:
  // Makes it non-blocking, which holds for everybody who shares the open file.
  StreamFd(kj::UnixEventPort& port, kj::AutoCloseFd fd);
  KJ_DISALLOW_COPY_AND_MOVE(StreamFd);

  // A pty whose other end is closed (EIO) and a connection that was reset are at their end.
  kj::Maybe<size_t> read(kj::ArrayPtr<kj::byte> buffer) override;

  // As much as can be taken now, maybe 0; nullptr when nobody will read it any more.
  kj::Maybe<size_t> write(kj::ArrayPtr<const kj::byte> bytes);

  // One waiter each, who has just found that nothing could be read or written.
  kj::Promise<void> whenReadable() { return observer.whenBecomesReadable(); }
  kj::Promise<void> whenWritable() { return observer.whenBecomesWritable(); }

  // A socket's other side reads to the end. No effect on others.
  void shutdownWrite();

 private:
  kj::AutoCloseFd fd;
  kj::UnixEventPort::FdObserver observer;
};

}  // namespace belay::criapi::streaming
