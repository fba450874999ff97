// One exec or one attach: the client's streams on one side, the shim's descriptors on the other.
#pragma once

#include <kj/async.h>

#include "criapi/streaming/input-queue.h"
#include "criapi/streaming/output-pump.h"
#include "criapi/streaming/resize.h"
#include "criapi/streaming/session-context.h"
#include "criapi/streaming/session.capnp.h"
#include "criapi/streaming/shim-link.h"
#include "criapi/streaming/stream.h"

namespace belay::criapi::streaming {

class TerminalSession final : public StreamAcceptor, private kj::TaskSet::ErrorHandler {
 public:
  // `context` outlives the session, and so does the connection that it accepts streams of.
  TerminalSession(const SessionContext& context, Grant::Streams::Reader wanted,
                  kj::AutoCloseFd shim);
  ~TerminalSession() noexcept(false);

  // Resolves when the client has been told how it ended. Destroying the session before lets go of
  // the descriptors: what that means for the process says shim/session.capnp, at Start.
  kj::Promise<void> run();

  void opened(kj::Own<Stream> stream, StreamHeaders headers) override;

 private:
  // A stream whose client has nothing to send on it.
  struct Quiet : Receiver {
    void received(kj::ArrayPtr<const kj::byte>) override {}
    void ended() override {}
    void aborted() override {}
  };

  struct Input : Receiver {
    explicit Input(InputBacklog& backlog) : queue(backlog) {}
    InputQueue queue;
    void received(kj::ArrayPtr<const kj::byte> bytes) override { queue.add(bytes); }
    void ended() override { queue.end(); }
    void aborted() override { queue.end(); }
  };

  struct Output : Receiver {
    OutputPump pump;
    kj::Maybe<kj::Own<StreamFd>> source;
    void received(kj::ArrayPtr<const kj::byte>) override {}
    void ended() override {}
    void aborted() override { pump.stop(); }
  };

  struct Sizes : Receiver {
    explicit Sizes(TerminalSession& session) : session(session) {}
    TerminalSession& session;
    ResizeParser parser;
    void received(kj::ArrayPtr<const kj::byte> bytes) override;
    void ended() override {}
    void aborted() override {}
  };

  struct WindowSize {
    uint16_t columns;
    uint16_t rows;
  };

  const SessionContext& context;
  ShimLink shim;
  bool wantsStdin, wantsStdout, wantsStderr, tty, hasExitCode;

  Quiet error;
  Input input;
  Output output, errors;
  Sizes sizes;
  kj::Maybe<WindowSize> newSize;
  bool sendingSize = false;
  kj::Maybe<kj::Own<Stream>> errorStream, stdinStream, stdoutStream, stderrStream, resizeStream;
  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> streamsWaiter;
  kj::Maybe<kj::Own<StreamFd>> stdinTarget;
  // Last: its tasks use what is above.
  kj::TaskSet tasks;

  kj::Promise<kj::String> converse();
  kj::Promise<bool> allStreamsInTime();
  bool hasAllStreams() const;
  kj::Promise<kj::String> runStarted(shim::FromShim::Started::Reader started,
                                     kj::Array<kj::AutoCloseFd> fds);
  kj::Promise<void> feedInput();
  kj::Promise<void> pumpOutput(Output& output, kj::Maybe<kj::Own<Stream>>& stream);
  kj::Promise<kj::String> waitForEnd();
  kj::Promise<void> drainOutput(kj::Promise<void> done);
  kj::Promise<void> tellEnd(kj::String status);
  void resized(uint16_t columns, uint16_t rows);
  kj::Promise<void> sendSizes();
  void taskFailed(kj::Exception&& exception) override;
};

}  // namespace belay::criapi::streaming
