// Where streaming clients connect: hands each connection to a belay-session of its own.
#pragma once

#include <kj/async-unix.h>
#include <kj/io.h>
#include <kj/timer.h>

#include "criapi/streaming/stream-request.h"
#include "criapi/streaming/tokens.h"
#include "snapshot/sys/child.h"
#include "supervisor/cgroups.h"
#include "supervisor/config/config.h"

namespace belay::criapi::streaming {

// belayd reads not one byte of a client. A session asks once what its token is good for, gets a
// socket to the pod's shim, and needs belayd no more: it lives on when this object, or belayd, is
// gone.
class StreamServer final : public StreamUrls, private kj::TaskSet::ErrorHandler {
 public:
  // Listens at once, on `given` or, without one, on a socket of its own; throws FAILED_PRECONDITION
  // if the address cannot be had. All references outlive this object.
  StreamServer(kj::UnixEventPort& port, kj::Timer& timer, const kj::MonotonicClock& clock,
               snapshot::Children& children, supervisor::Cgroups& cgroups,
               supervisor::Runtime& runtime, const supervisor::Config& config,
               kj::Maybe<kj::AutoCloseFd> given);
  KJ_DISALLOW_COPY_AND_MOVE(StreamServer);

  kj::String urlFor(StreamRequest request) override;

  // --- for a belayd that is being replaced
  // Resolves when no session waits for what it has asked.
  kj::Promise<void> whenAnswered();
  // What the next one must know, without descriptors.
  void describe(StreamHandover::Builder handover) const { tokens.describe(handover); }
  // Stops, and describes it all. The listener and the descriptors named there stay open over exec.
  void leave(StreamHandover::Builder handover);
  // In a process that is not the next one: closes them.
  void closeWhatWasLeft();
  int listenerFd() const { return listener; }

  // --- for the next one, at its start
  void takeOver(StreamHandover::Reader handover);

  // "http://127.0.0.1:40123".
  kj::StringPtr baseUrl() const { return base; }

 private:
  kj::UnixEventPort& port;
  kj::Timer& timer;
  snapshot::Children& children;
  supervisor::Cgroups& cgroups;
  supervisor::Runtime& runtime;
  const supervisor::Config& config;
  Tokens tokens;
  kj::AutoCloseFd listener;
  kj::String base;

  uint sessions = 0;          // that run
  uint asking = 0;            // of those, that have not been answered yet
  kj::HashSet<int> notAsked;  // descriptors to sessions that have not asked yet
  kj::Vector<kj::AutoCloseFd> left;
  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> answerWaiter;
  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> roomWaiter;
  kj::TaskSet tasks;

  bool usesTls() const { return config.streamingTlsCert.size() > 0; }
  kj::AutoCloseFd listen();
  void warnUnlessSafe() const;
  kj::Promise<void> acceptAll();
  kj::Promise<void> whenThereIsRoom();
  void madeRoom();
  void answered();
  kj::Promise<void> serve(kj::AutoCloseFd client);
  void countFormerSessions();
  kj::Promise<void> countUntilExit(kj::AutoCloseFd pidfd);
  kj::Promise<void> answerInTime(kj::AutoCloseFd control);
  kj::Own<snapshot::Child> spawn(int client, int control);
  kj::Promise<void> answer(kj::AutoCloseFd control);
  kj::Promise<void> open(const StreamRequest& request, Grant::Builder grant,
                         kj::Maybe<kj::AutoCloseFd>& socket);
  void taskFailed(kj::Exception&& exception) override;
};

}  // namespace belay::criapi::streaming
