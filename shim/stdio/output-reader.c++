// Implementation of output-reader.h.
#include "shim/stdio/output-reader.h"

#include <kj/debug.h>

namespace belay::shim {
namespace {

// Looks again at this interval when the spool's file system, not the spool, is full.
constexpr kj::Duration FULL_RETRY = 1 * kj::SECONDS;

}  // namespace

OutputReader::OutputReader(kj::UnixEventPort& port, kj::Timer& timer, kj::AutoCloseFd fdParam,
                           Source source, Spool& spool, ContainerLog& log, LogStream stream)
    : timer(timer),
      fd(kj::mv(fdParam)),
      source(source),
      spool(spool),
      log(log),
      stream(stream),
      observer(port, fd, kj::UnixEventPort::FdObserver::OBSERVE_READ),
      reader(nullptr) {
  reader = run().eagerlyEvaluate([this](kj::Exception&& exception) {
    KJ_LOG(ERROR, "reading a container's output failed", exception);
    this->log.endOfInput(this->stream);
  });
}

void OutputReader::addTap(kj::Own<OutputTap> tap) {
  forgetClosedTaps();
  taps.add(kj::mv(tap));
}

void OutputReader::forgetClosedTaps() {
  kj::Vector<kj::Own<OutputTap>> open;
  for (auto& tap : taps) {
    if (tap->isOpen()) open.add(kj::mv(tap));
  }
  taps = kj::mv(open);
}

void OutputReader::drain() {
  draining = true;
  drainRequested.notify();
}

kj::Promise<void> OutputReader::run() {
  for (bool ended = false; !ended;) {
    // Asked for before reading: the observer tells of edges only.
    auto readable = observer.whenBecomesReadable();
    Spool::Moved moved;
    while ((moved = move()) == Spool::Moved::SOME) {
      log.notify();
      // Others get their turn between two pipefuls of a flood.
      co_await kj::evalLater([]() {});
    }
    switch (moved) {
      case Spool::Moved::SOME:
        KJ_UNREACHABLE;
      case Spool::Moved::NOTHING_NOW:
        if (draining) {
          ended = true;
        } else {
          co_await readable.exclusiveJoin(drainRequested.wait());
        }
        break;
      case Spool::Moved::FULL:
        log.notify();
        co_await log.whenRoom(stream).exclusiveJoin(timer.afterDelay(FULL_RETRY));
        break;
      case Spool::Moved::END:
        ended = true;
        break;
    }
  }
  log.endOfInput(stream);
  for (auto& tap : taps)
    tap->close();
}

Spool::Moved OutputReader::move() {
  auto before = spool.end();
  auto moved = source == Source::FIFO ? spool.spliceFrom(fd) : spool.readFrom(fd);
  if (taps.size() > 0) passToTaps(before);
  return moved;
}

// The log, which gives the bytes back to the file system, has not seen them yet.
void OutputReader::passToTaps(uint64_t from) {
  kj::byte buffer[16 << 10];
  while (from < spool.end()) {
    auto bytes = spool.read(from, buffer);
    for (auto& tap : taps)
      tap->pass(bytes);
    from += bytes.size();
  }
  forgetClosedTaps();
}

}  // namespace belay::shim
