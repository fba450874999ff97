// Implementation of exec-session.h.
#include "shim/exec-session.h"

#include <fcntl.h>
#include <kj/debug.h>

#include "failpoint/failpoint.h"
#include "shim/engine/terminal-size.h"
#include "shim/exec-cgroup.h"
#include "shim/stdio/descriptors.h"

namespace belay::shim {
namespace {

// What a pipe between a process and its client holds: fewer changes between the two.
constexpr size_t PIPE_BYTES = 256 << 10;

class ExecSession final {
 public:
  ExecSession(ShimContext& context, kj::AutoCloseFd socket, ProcessSpec::Reader process,
              StreamChoice choice, EnterTarget target, kj::Own<Cgroup> cgroup, kj::TaskSet& tasks)
      : context(context),
        session(context.engine.eventPort, kj::mv(socket)),
        choice(choice),
        target(target),
        cgroup(context, kj::mv(cgroup), tasks) {
    message.setRoot(process);
  }
  KJ_DISALLOW_COPY_AND_MOVE(ExecSession);

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
    co_await run().exclusiveJoin(follow());
  }

 private:
  ShimContext& context;
  SessionSocket session;
  capnp::MallocMessageBuilder message;
  StreamChoice choice;
  EnterTarget target;
  ExecCgroup cgroup;
  TerminalSize size;
  // Held for its size alone, and let go of with the session: the last one hangs the terminal up.
  kj::AutoCloseFd ptyMaster;

  // From the process's making to its end.
  kj::Promise<void> run() {
    auto process = message.getRoot<ProcessSpec>().asReader();
    ChildStdio theirs;
    SessionSocket::Streams ours;
    if (process.getTerminal()) {
      theirs.terminal = true;
      theirs.size = size;
    } else {
      makePipes(theirs, ours);
    }
    // The process may be over before its pid is known here.
    auto hold = kj::heap<Reaper::Hold>(context.reaper);
    auto result =
        co_await enterContainer(context.engine, process, target, cgroup.get(), kj::mv(theirs));
    if (result.is<FailureValue>()) {
      session.sendFailed(result.get<FailureValue>());
      co_return;
    }
    auto& entered = result.get<Entered>();
    CO_FAILPOINT(context.engine.timer, "shim.exec/after-start");
    // Whatever becomes of the session: it is the container's now.
    cgroup.release();
    auto ended = context.reaper.onExit(entered.pid);
    hold = nullptr;
    ptyMaster = kj::mv(entered.ptyMaster);
    if (ptyMaster.get() >= 0) {
      // One more may have come while it was being made.
      if (!size.isUnknown()) setTerminalSize(ptyMaster, size);
      if (choice.in) ours.in = duplicate(ptyMaster);
      if (choice.out) ours.out = duplicate(ptyMaster);
    }
    if (!session.sendStarted(ours)) co_return;
    ours = SessionSocket::Streams();
    auto status = co_await ended;
    CO_FAILPOINT(context.engine.timer, "shim.exec/after-exit");
    sendExited(status);
  }

  // What comes after the start. Resolves when the session has gone.
  kj::Promise<void> follow() {
    for (;;) {
      auto received = co_await session.receive();
      KJ_IF_MAYBE (packet, received) {
        if (!packet->isResize()) continue;
        noteSize(packet->getResize());
        if (ptyMaster.get() >= 0) setTerminalSize(ptyMaster, size);
      } else {
        co_return;
      }
    }
  }

  void noteSize(WindowSize::Reader window) {
    size = {.columns = window.getColumns(), .rows = window.getRows()};
  }

  void makePipes(ChildStdio& theirs, SessionSocket::Streams& ours) {
    theirs.in = openNull(O_RDONLY);
    theirs.out = openNull(O_WRONLY);
    theirs.err = openNull(O_WRONLY);
    if (choice.in) {
      auto pipe = makeClientPipe();
      theirs.in = kj::mv(pipe.readEnd);
      ours.in = kj::mv(pipe.writeEnd);
    }
    if (choice.out) {
      auto pipe = makeClientPipe();
      theirs.out = kj::mv(pipe.writeEnd);
      ours.out = kj::mv(pipe.readEnd);
    }
    if (choice.err) {
      auto pipe = makeClientPipe();
      theirs.err = kj::mv(pipe.writeEnd);
      ours.err = kj::mv(pipe.readEnd);
    }
  }

  static Pipe makeClientPipe() {
    auto pipe = makePipe();
    growPipe(pipe.writeEnd, PIPE_BYTES);
    return pipe;
  }

  void sendExited(const ExitStatus& status) {
    capnp::MallocMessageBuilder answer;
    auto exit = answer.initRoot<FromShim>().initExited();
    exit.setCode(status.code);
    exit.setSignal(status.signal);
    exit.setFinishedAtNs(status.finishedAtNs);
    session.send(answer);
  }
};

}  // namespace

kj::Promise<void> serveExec(ShimContext& context, kj::AutoCloseFd socket,
                            ProcessSpec::Reader process, StreamChoice choice, EnterTarget target,
                            kj::Own<Cgroup> cgroup, kj::TaskSet& tasks) {
  ExecSession session(context, kj::mv(socket), process, choice, target, kj::mv(cgroup), tasks);
  co_await session.serve();
}

}  // namespace belay::shim
