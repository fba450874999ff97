// Implementation of attach-session.h.
#include "shim/attach-session.h"

#include <kj/debug.h>

#include "failpoint/failpoint.h"
#include "shim/failure.h"

namespace belay::shim {
namespace {

class AttachSession final {
 public:
  AttachSession(kj::UnixEventPort& port, kj::AutoCloseFd socket, StreamChoice choice,
                AttachTarget& target)
      : session(port, kj::mv(socket)), choice(choice), target(target) {}
  ~AttachSession() noexcept(false) {
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
    FAILPOINT("shim.attach/after-start");
    co_await passOutput().exclusiveJoin(follow());
  }

 private:
  SessionSocket session;
  StreamChoice choice;
  AttachTarget& target;
  TerminalSize size;
  bool hasInput = false;
  kj::Promise<void> inputPump = nullptr;
  kj::Vector<kj::Own<OutputTap>> taps;

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
      auto input = stdio.openInput();
      streams.in = kj::mv(input.writeEnd);
      inputPump = input.pump.eagerlyEvaluate([](kj::Exception&& exception) {
        KJ_LOG(WARNING, "an attached client's input is not read any more", exception);
      });
      hasInput = true;
    }
    if (choice.out) streams.out = tap(stdio, LogStream::OUT);
    if (choice.err) streams.err = tap(stdio, LogStream::ERR);
    if (!size.isUnknown()) stdio.resize(size);
  }

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

kj::Promise<void> serveAttach(kj::UnixEventPort& port, kj::AutoCloseFd socket, StreamChoice choice,
                              AttachTarget& target) {
  AttachSession session(port, kj::mv(socket), choice, target);
  co_await session.serve();
}

}  // namespace belay::shim
