// One exec or one attach.
#include "criapi/streaming/terminal-session.h"

#include <kj/debug.h>

#include "criapi/streaming/status.h"
#include "criapi/streaming/text-source.h"

namespace belay::criapi::streaming {
namespace {

kj::String statusOf(shim::Exit::Reader exit, bool hasExitCode) {
  if (!hasExitCode) return successStatus();
  if (!exit.getKnown()) {
    return internalErrorStatus(
        "the process has ended, but its exit code was lost with the shim that watched it");
  }
  return exit.getCode() == 0 ? successStatus() : exitStatus(exit.getCode());
}

void endIfThere(kj::Maybe<kj::Own<Stream>>& stream) {
  KJ_IF_MAYBE (s, stream) (*s)->end();
}

}  // namespace

TerminalSession::TerminalSession(const SessionContext& context, Grant::Streams::Reader wanted,
                                 kj::AutoCloseFd shimSocket)
    : context(context),
      shim(context.port, kj::mv(shimSocket)),
      wantsStdin(wanted.getStdin()),
      wantsStdout(wanted.getStdout()),
      wantsStderr(wanted.getStderr()),
      tty(wanted.getTty()),
      hasExitCode(wanted.getHasExitCode()),
      input(context.backlog),
      sizes(*this),
      tasks(*this) {}

TerminalSession::~TerminalSession() noexcept(false) {}

void TerminalSession::opened(kj::Own<Stream> stream, StreamHeaders headers) {
  auto take = [&](bool wanted, kj::Maybe<kj::Own<Stream>>& place, Receiver& receiver) {
    if (!wanted || place != nullptr) return;  // and so refuse it
    stream->accept(receiver);
    place = kj::mv(stream);
  };
  if (headers.type == "error") take(true, errorStream, error);
  if (headers.type == "stdin") take(wantsStdin, stdinStream, input);
  if (headers.type == "stdout") take(wantsStdout, stdoutStream, output);
  if (headers.type == "stderr") take(wantsStderr, stderrStream, errors);
  if (headers.type == "resize") take(tty, resizeStream, sizes);
  if (hasAllStreams()) {
    KJ_IF_MAYBE (waiter, streamsWaiter) (*waiter)->fulfill();
  }
}

bool TerminalSession::hasAllStreams() const {
  return errorStream != nullptr && wantsStdin == (stdinStream != nullptr) &&
         wantsStdout == (stdoutStream != nullptr) && wantsStderr == (stderrStream != nullptr) &&
         tty == (resizeStream != nullptr);
}

kj::Promise<void> TerminalSession::run() {
  kj::String status;
  try {
    status = co_await converse();
  } catch (...) {
    // The shim's socket or a descriptor failed; if it was the client, telling it fails, too.
    status = internalErrorStatus(kj::getCaughtExceptionAsKj().getDescription());
  }
  co_await tellEnd(kj::mv(status));
}

// Everything until there is a status for the client.
kj::Promise<kj::String> TerminalSession::converse() {
  if (!co_await allStreamsInTime()) {
    co_return internalErrorStatus(kj::str("the client did not open all streams within ",
                                          context.settings.streamTimeout / kj::SECONDS, " s"));
  }
  co_await shim.send([](shim::ToShim::Builder message) { message.initStart(); });
  for (;;) {
    auto received = co_await shim.receive();
    KJ_IF_MAYBE (packet, received) {
      auto message = (*packet)->as<shim::FromShim>();
      if (message.isFailed()) co_return internalErrorStatus(message.getFailed().getMessage());
      if (message.isStarted()) {
        co_return co_await runStarted(message.getStarted(), kj::mv((*packet)->fds));
      }
    } else {
      co_return internalErrorStatus("the pod's shim went away before it started the process");
    }
  }
}

kj::Promise<bool> TerminalSession::allStreamsInTime() {
  if (hasAllStreams()) co_return true;
  auto pair = kj::newPromiseAndFulfiller<void>();
  streamsWaiter = kj::mv(pair.fulfiller);
  co_return co_await pair.promise.then([]() { return true; })
      .exclusiveJoin(
          context.timer.afterDelay(context.settings.streamTimeout).then([]() { return false; }));
}

kj::Promise<kj::String> TerminalSession::runStarted(shim::FromShim::Started::Reader started,
                                                    kj::Array<kj::AutoCloseFd> fds) {
  size_t used = 0;
  auto next = [&](bool given) -> kj::Maybe<kj::Own<StreamFd>> {
    if (!given) return nullptr;
    KJ_REQUIRE(used < fds.size(), "The shim sent fewer descriptors than it said.");
    return kj::heap<StreamFd>(context.port, kj::mv(fds[used++]));
  };
  stdinTarget = next(started.getStdin());
  output.source = next(started.getStdout());
  errors.source = next(started.getStderr());
  fds = nullptr;

  tasks.add(feedInput());
  auto outputs = kj::heapArrayBuilder<kj::Promise<void>>(2);
  outputs.add(pumpOutput(output, stdoutStream));
  outputs.add(pumpOutput(errors, stderrStream));
  auto drained = kj::joinPromises(outputs.finish()).eagerlyEvaluate(nullptr);
  auto status = co_await waitForEnd();
  co_await drainOutput(kj::mv(drained));
  co_return status;
}

kj::Promise<void> TerminalSession::feedInput() {
  KJ_IF_MAYBE (target, stdinTarget) {
    co_await input.queue.writeTo(**target);
    // A pipe's reader meets its end. A terminal has further descriptors and goes on.
    stdinTarget = nullptr;
  }
  input.queue.discard();
  if (!hasExitCode && wantsStdin) {
    co_await shim.send([](shim::ToShim::Builder message) { message.setStdinEnded(); });
  }
}

kj::Promise<void> TerminalSession::pumpOutput(Output& from, kj::Maybe<kj::Own<Stream>>& stream) {
  KJ_IF_MAYBE (to, stream) {
    KJ_IF_MAYBE (source, from.source) {
      co_await from.pump.run(**source, **to);
    } else {
      (*to)->end();
    }
  }
  // If the client gave its stream up, the process may as well know that nobody reads.
  from.source = nullptr;
}

// How the process ended, or why we shall not know.
kj::Promise<kj::String> TerminalSession::waitForEnd() {
  for (;;) {
    auto received = co_await shim.receive();
    KJ_IF_MAYBE (packet, received) {
      auto message = (*packet)->as<shim::FromShim>();
      if (message.isExited()) co_return statusOf(message.getExited(), hasExitCode);
      if (message.isCut()) co_return internalErrorStatus(message.getCut());
      if (message.isFailed()) co_return internalErrorStatus(message.getFailed().getMessage());
    } else {
      co_return internalErrorStatus(
          "the pod's shim went away: how the process ended cannot be known");
    }
  }
}

// Until the end of the output, or until nothing has come for a while: a process that outlives its
// parent may hold the pipe. A client that reads slowly is waited for.
kj::Promise<void> TerminalSession::drainOutput(kj::Promise<void> done) {
  auto drained = done.fork();
  for (;;) {
    uint64_t before = output.pump.piecesSent() + errors.pump.piecesSent();
    bool ended =
        co_await drained.addBranch()
            .then([]() { return true; })
            .exclusiveJoin(context.timer.afterDelay(context.settings.quietTimeout).then([]() {
              return false;
            }));
    if (ended) co_return;
    if (output.pump.isQuiet() && errors.pump.isQuiet() &&
        before == output.pump.piecesSent() + errors.pump.piecesSent()) {
      co_return;
    }
  }
}

// The order in which the clients expect it: ends of the output, status, end of the error stream;
// then our end of stdin, which frees a client that is still writing.
kj::Promise<void> TerminalSession::tellEnd(kj::String status) {
  input.queue.discard();
  endIfThere(stdoutStream);
  endIfThere(stderrStream);
  KJ_IF_MAYBE (stream, errorStream) co_await sendText(**stream, status);
  endIfThere(stdinStream);
  endIfThere(resizeStream);
}

void TerminalSession::Sizes::received(kj::ArrayPtr<const kj::byte> bytes) {
  parser.feed(bytes, [this](uint16_t columns, uint16_t rows) { session.resized(columns, rows); });
}

// Only the newest size is worth sending.
void TerminalSession::resized(uint16_t columns, uint16_t rows) {
  newSize = WindowSize{columns, rows};
  if (!sendingSize) tasks.add(sendSizes());
}

kj::Promise<void> TerminalSession::sendSizes() {
  sendingSize = true;
  KJ_DEFER(sendingSize = false);
  for (;;) {
    KJ_IF_MAYBE (size, newSize) {
      auto now = *size;
      newSize = nullptr;
      co_await shim.send([now](shim::ToShim::Builder message) {
        auto resize = message.initResize();
        resize.setColumns(now.columns);
        resize.setRows(now.rows);
      });
    } else {
      co_return;
    }
  }
}

void TerminalSession::taskFailed(kj::Exception&& exception) {
  // That the shim is gone shows where its answers are read.
  if (exception.getType() == kj::Exception::Type::DISCONNECTED) return;
  KJ_LOG(WARNING, "a part of the session failed", exception);
}

}  // namespace belay::criapi::streaming
