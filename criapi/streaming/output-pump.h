// A descriptor's bytes on their way to a client's stream.
#pragma once

#include <kj/async.h>
#include <stdint.h>

#include "criapi/streaming/stream-fd.h"

namespace belay::criapi::streaming {

class OutputPump {
 public:
  // Sends all of `source`, then ends the stream. Resolves then, or when stop() is called.
  // Cancelling while isQuiet() loses nothing that was there.
  kj::Promise<void> run(StreamFd& source, Stream& stream);

  // The client does not want the rest.
  void stop();

  // Nothing can be read at present and nothing is being sent.
  bool isQuiet() const { return quiet; }

  // Grows with each piece.
  uint64_t piecesSent() const { return pieces; }

 private:
  bool quiet = true;
  bool stopped = false;
  uint64_t pieces = 0;
  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> stopper;

  kj::Promise<void> pump(StreamFd& source, Stream& stream);
};

}  // namespace belay::criapi::streaming
