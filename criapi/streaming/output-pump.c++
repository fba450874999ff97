// A descriptor's bytes on their way to a client's stream.
#include "criapi/streaming/output-pump.h"

namespace belay::criapi::streaming {

kj::Promise<void> OutputPump::run(StreamFd& source, Stream& stream) {
  if (stopped) return kj::READY_NOW;
  auto pair = kj::newPromiseAndFulfiller<void>();
  stopper = kj::mv(pair.fulfiller);
  return pump(source, stream).exclusiveJoin(kj::mv(pair.promise));
}

kj::Promise<void> OutputPump::pump(StreamFd& source, Stream& stream) {
  for (;;) {
    quiet = false;
    auto sent = co_await stream.send(source);
    KJ_IF_MAYBE (bytes, sent) {
      if (*bytes == 0) break;
      ++pieces;
    } else {
      quiet = true;
      co_await source.whenReadable();
    }
  }
  quiet = true;
  stream.end();
}

void OutputPump::stop() {
  stopped = true;
  quiet = true;
  KJ_IF_MAYBE (fulfiller, stopper) (*fulfiller)->fulfill();
}

}  // namespace belay::criapi::streaming
