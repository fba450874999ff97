// Implementation of attach-session.h.
#include "shim/attach-session.h"

#include <kj/debug.h>

#include "failpoint/failpoint.h"
#include "shim/failure.h"

namespace belay::shim {
namespace {

class AttachSession final : private Session {
 public:
  AttachSession(ShimContext& context, kj::AutoCloseFd socket, StreamChoice choice,
                AttachTarget& target)
      : context(context),
        session(context.engine.eventPort, kj::mv(socket)),
        choice(choice),
        target(target) {
    context.sessions.add(*this);
  }
  ~AttachSession() noexcept(false) {
    context.sessions.remove(*this);
    endInput();
    // Their reader still has them, until it has something to pass on.
    for (auto& tap : taps)
      tap->close();
  }
  KJ_DISALLOW_COPY_AND_MOVE(AttachSession);

  kj::Promise<void> serve() {
    for (;;) {
      auto received = co_await session.receive();
      KJ_IF_MAYBE (packet, received) {
        if (packet->isResize()) noteSize(packet->getResize());
        if (packet->isStart()) break;
      } else {
        co_return;
      }
    }
    FAILPOINT("shim.attach/before-start");
    if (!start()) co_return;
    started = true;
    FAILPOINT("shim.attach/after-start");
    co_await passOutput().exclusiveJoin(follow());
  }

  kj::Promise<void> resume(AttachedStreams streams) {
    started = true;
    hasInput = choice.in;
    auto& stdio = target.attachedStdio();
    if (streams.input.get() >= 0) {
      int readEnd = streams.input;
      pumpInput(stdio.resumeInput(context.work, kj::mv(streams.input)), readEnd);
    }
    if (choice.out) addTap(stdio, LogStream::OUT, kj::mv(streams.output));
    if (choice.err) addTap(stdio, LogStream::ERR, kj::mv(streams.errors));
    co_await passOutput().exclusiveJoin(follow());
  }

 private:
  ShimContext& context;
  SessionSocket session;
  StreamChoice choice;
  AttachTarget& target;
  TerminalSize size;
  bool started = false;
  bool hasInput = false;
  kj::Promise<void> inputPump = nullptr;
  int pumped = -1;                      // what the pump reads
  kj::Vector<kj::Own<OutputTap>> taps;  // output first, if it is chosen

  bool start() {
    KJ_IF_MAYBE (failure, target.refuseAttach(choice)) {
      session.sendFailed(*failure);
      return false;
    }
    SessionSocket::Streams streams;
    KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() { connect(streams); })) {
      session.sendFailed(failureOf("attach to the container"_kj, ""_kj, *exception));
      return false;
    }
    return session.sendStarted(streams);
  }

  void connect(SessionSocket::Streams& streams) {
    auto& stdio = target.attachedStdio();
    if (choice.in) {
      auto input = stdio.openInput(context.work);
      streams.in = kj::mv(input.writeEnd);
      pumpInput(kj::mv(input.pump), input.readEnd);
      hasInput = true;
    }
    if (choice.out) streams.out = tap(stdio, LogStream::OUT);
    if (choice.err) streams.err = tap(stdio, LogStream::ERR);
    if (!size.isUnknown()) stdio.resize(size);
  }

  void pumpInput(kj::Promise<void> pump, int readEnd) {
    pumped = readEnd;
    inputPump =
        pump.then([this]() { pumped = -1; }).eagerlyEvaluate([this](kj::Exception&& exception) {
          pumped = -1;
          KJ_LOG(WARNING, "an attached client's input is not read any more", exception);
        });
  }

  // Goes on with a client's pipe; a closed one was too slow, or the stream had ended.
  void addTap(ContainerStdio& stdio, LogStream stream, kj::AutoCloseFd pipe) {
    auto resumed = kj::refcounted<OutputTap>(kj::mv(pipe));
    stdio.addTap(stream, kj::addRef(*resumed));
    taps.add(kj::mv(resumed));
  }

  void handOver(Handover::Session::Builder state) const override {
    state.setSocket(session.getFd());
    state.setContainerId(target.attachedId());
    writeChoice(choice, state);
    if (!started) {
      state.setAttachWaiting();
      return;
    }
    auto attach = state.initAttach();
    attach.setInput(pumped);
    attach.setOutput(choice.out ? pipeOf(0) : -1);
    attach.setErrors(choice.err ? pipeOf(choice.out ? 1 : 0) : -1);
  }

  int pipeOf(size_t index) const { return index < taps.size() ? taps[index]->getFd() : -1; }

  kj::AutoCloseFd tap(ContainerStdio& stdio, LogStream stream) {
    kj::AutoCloseFd readEnd;
    KJ_IF_MAYBE (made, stdio.tap(stream)) {
      readEnd = (*made)->takeReadEnd();
      taps.add(kj::mv(*made));
    }
    return readEnd;
  }

  // Until the container's exit, or until the client was too slow: the output itself flows from its
  // reader to the taps.
  kj::Promise<void> passOutput() {
    bool overrun = false;
    auto end = target.whenExited();
    for (auto& tap : taps) {
      end = end.exclusiveJoin(tap->whenOverrun().then([&overrun]() { overrun = true; }));
    }
    co_await end;
    // The client meets the end of its streams before it hears why.
    for (auto& tap : taps)
      tap->close();
    capnp::MallocMessageBuilder message;
    auto packet = message.initRoot<FromShim>();
    if (overrun) {
      packet.setCut(kj::str("The client was too slow: it had ", taps[0]->capacity() >> 10,
                            " KiB of output to read and more came. The container and its log go "
                            "on; attach again."));
    } else {
      target.fillExit(packet.initExited());
    }
    session.send(message);
  }

  kj::Promise<void> follow() {
    for (;;) {
      auto received = co_await session.receive();
      KJ_IF_MAYBE (packet, received) {
        if (packet->isStdinEnded()) endInput();
        if (packet->isResize()) {
          noteSize(packet->getResize());
          // Its owner may have taken the container away by now.
          if (target.refuseAttach(StreamChoice()) == nullptr) target.attachedStdio().resize(size);
        }
      } else {
        co_return;
      }
    }
  }

  void endInput() {
    if (!hasInput) return;
    hasInput = false;
    target.attachedInputEnded();
  }

  void noteSize(WindowSize::Reader window) {
    size = {.columns = window.getColumns(), .rows = window.getRows()};
  }
};

}  // namespace

kj::Promise<void> serveAttach(ShimContext& context, kj::AutoCloseFd socket, StreamChoice choice,
                              AttachTarget& target) {
  AttachSession session(context, kj::mv(socket), choice, target);
  co_await session.serve();
}

kj::Promise<void> resumeAttach(ShimContext& context, kj::AutoCloseFd socket, StreamChoice choice,
                               AttachTarget& target, AttachedStreams streams) {
  AttachSession session(context, kj::mv(socket), choice, target);
  co_await session.resume(kj::mv(streams));
}

}  // namespace belay::shim
