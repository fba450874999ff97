// Moves what a container writes into its spool: one reader for each FIFO or pty master.
#pragma once

#include <kj/async-unix.h>
#include <kj/io.h>
#include <kj/timer.h>

#include "shim/stdio/container-log.h"
#include "shim/stdio/output-tap.h"
#include "shim/stdio/spool.h"
#include "shim/stdio/wakeup.h"

namespace belay::shim {

class OutputReader final {
 public:
  enum class Source { FIFO, PTY };

  // `fd` is non-blocking. Begins to read at once; `spool` and `log` outlive this object.
  OutputReader(kj::UnixEventPort& port, kj::Timer& timer, kj::AutoCloseFd fd, Source source,
               Spool& spool, ContainerLog& log, LogStream stream);
  KJ_DISALLOW_COPY_AND_MOVE(OutputReader);

  // Says that nobody writes any more: the reader takes what is there and ends. (EOF would not come
  // while a pod-mate or a leaked descriptor holds the other end.)
  void drain();

  // Passes on to the tap what comes from now on, until either ends.
  void addTap(kj::Own<OutputTap> tap);

  // For a duplicate to the supervisor.
  int getFd() const { return fd; }

 private:
  kj::Promise<void> run();
  Spool::Moved move();
  void passToTaps(uint64_t from);
  void forgetClosedTaps();

  kj::Timer& timer;
  kj::AutoCloseFd fd;
  Source source;
  Spool& spool;
  ContainerLog& log;
  LogStream stream;
  kj::UnixEventPort::FdObserver observer;
  bool draining = false;
  Wakeup drainRequested;
  kj::Vector<kj::Own<OutputTap>> taps;
  kj::Promise<void> reader;
};

}  // namespace belay::shim
