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

TerminalSize sizeOf(WindowSize::Reader window) {
  return {.columns = window.getColumns(), .rows = window.getRows()};
}

// Passes on the sizes of the client's terminal until the session has gone.
template <typename Each>
kj::Promise<void> followSizes(SessionSocket& session, Each each) {
  for (;;) {
    auto received = co_await session.receive();
    KJ_IF_MAYBE (packet, received) {
      if (packet->isResize()) each(sizeOf(packet->getResize()));
    } else {
      co_return;
    }
  }
}

// The process's part, once it runs, and what of that is handed over: all that is said from then on
// is how it ended.
class RunningExec final : private Session {
 public:
  RunningExec(ShimContext& context, kj::StringPtr containerId, SessionSocket& session, pid_t pid,
              kj::AutoCloseFd ptyMaster)
      : context(context),
        containerId(containerId),
        session(session),
        pid(pid),
        ended(context.reaper.onExit(pid)),
        ptyMaster(kj::mv(ptyMaster)) {
    context.sessions.add(*this);
  }
  ~RunningExec() { context.sessions.remove(*this); }
  KJ_DISALLOW_COPY_AND_MOVE(RunningExec);

  // Resolves when the session has been told of the process's end.
  kj::Promise<void> tellOfEnd() {
    auto status = co_await kj::mv(ended);
    CO_FAILPOINT(context.engine.timer, "shim.exec/after-exit");
    capnp::MallocMessageBuilder answer;
    auto exit = answer.initRoot<FromShim>().initExited();
    exit.setCode(status.code);
    exit.setSignal(status.signal);
    exit.setFinishedAtNs(status.finishedAtNs);
    session.send(answer);
  }

  void resize(TerminalSize size) {
    if (ptyMaster.get() >= 0) setTerminalSize(ptyMaster, size);
  }
  int terminal() const { return ptyMaster; }

 private:
  ShimContext& context;
  kj::StringPtr containerId;
  SessionSocket& session;
  pid_t pid;
  kj::Promise<ExitStatus> ended;
  // Held for its size alone, and let go of with the session: the last one hangs the terminal up.
  kj::AutoCloseFd ptyMaster;

  void handOver(Handover::Session::Builder state) const override {
    state.setSocket(session.getFd());
    state.setContainerId(containerId);
    auto exec = state.initExec();
    exec.setPid(pid);
    exec.setPtyMaster(ptyMaster);
  }
};

class ExecSession final : private Session {
 public:
  ExecSession(ShimContext& context, kj::AutoCloseFd socket, ProcessSpec::Reader given,
              StreamChoice choice, ExecTarget target, kj::TaskSet& tasks)
      : context(context),
        session(context.engine.eventPort, kj::mv(socket)),
        choice(choice),
        containerId(kj::str(target.containerId)),
        target(target.enter),
        cgroup(context, kj::mv(target.cgroup), tasks) {
    message.setRoot(given);
    process = message.getRoot<ProcessSpec>().asReader();
  }
  KJ_DISALLOW_COPY_AND_MOVE(ExecSession);

  kj::Promise<void> serve() {
    if (!co_await whenAsked()) co_return;
    co_await run().exclusiveJoin(follow());
  }

 private:
  ShimContext& context;
  SessionSocket session;
  capnp::MallocMessageBuilder message;
  ProcessSpec::Reader process;  // in it
  StreamChoice choice;
  kj::String containerId;
  EnterTarget target;
  ExecCgroup cgroup;
  TerminalSize size;
  kj::Maybe<kj::Own<RunningExec>> running;

  // False when the session went before it said start.
  kj::Promise<bool> whenAsked() {
    context.sessions.add(*this);
    KJ_DEFER(context.sessions.remove(*this));
    for (;;) {
      auto received = co_await session.receive();
      KJ_IF_MAYBE (packet, received) {
        if (packet->isResize()) size = sizeOf(packet->getResize());
        if (packet->isStart()) co_return true;
      } else {
        co_return false;
      }
    }
  }

  // While it waits to be asked.
  void handOver(Handover::Session::Builder state) const override {
    state.setSocket(session.getFd());
    state.setContainerId(containerId);
    writeChoice(choice, state);
    state.setExecWaiting(process);
  }

  // From the process's making to its end.
  kj::Promise<void> run() {
    if (co_await begin()) co_await KJ_ASSERT_NONNULL(running)->tellOfEnd();
  }

  // False when there is no process, or no client any more.
  kj::Promise<bool> begin() {
    Work work(context.work);
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
      co_return false;
    }
    auto& entered = result.get<Entered>();
    // Whatever becomes of the session: it is the container's now.
    cgroup.release();
    auto& exec = *running.emplace(kj::heap<RunningExec>(context, containerId, session, entered.pid,
                                                        kj::mv(entered.ptyMaster)));
    hold = nullptr;
    if (exec.terminal() >= 0) {
      // One more may have come while it was being made.
      if (!size.isUnknown()) exec.resize(size);
      if (choice.in) ours.in = duplicate(exec.terminal());
      if (choice.out) ours.out = duplicate(exec.terminal());
    }
    bool told = session.sendStarted(ours);
    CO_FAILPOINT(context.engine.timer, "shim.exec/after-start");
    co_return told;
  }

  // What comes after the start. Resolves when the session has gone.
  kj::Promise<void> follow() {
    return followSizes(session, [this](TerminalSize latest) {
      size = latest;
      KJ_IF_MAYBE (exec, running) (*exec)->resize(size);
    });
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
};

}  // namespace

void writeChoice(StreamChoice choice, Handover::Session::Builder state) {
  state.setStdin(choice.in);
  state.setStdout(choice.out);
  state.setStderr(choice.err);
}

StreamChoice readChoice(Handover::Session::Reader state) {
  return {state.getStdin(), state.getStdout(), state.getStderr()};
}

kj::Promise<void> serveExec(ShimContext& context, kj::AutoCloseFd socket,
                            ProcessSpec::Reader process, StreamChoice choice, ExecTarget target,
                            kj::TaskSet& tasks) {
  ExecSession session(context, kj::mv(socket), process, choice, kj::mv(target), tasks);
  co_await session.serve();
}

kj::Promise<void> resumeExec(ShimContext& context, kj::AutoCloseFd socket, kj::String containerId,
                             pid_t pid, kj::AutoCloseFd ptyMaster) {
  // It ended as the programs changed, and nobody can tell how: its client sees the session go.
  if (!context.reaper.knows(pid)) co_return;
  SessionSocket session(context.engine.eventPort, kj::mv(socket));
  RunningExec running(context, containerId, session, pid, kj::mv(ptyMaster));
  auto following = followSizes(session, [&](TerminalSize size) { running.resize(size); });
  co_await running.tellOfEnd().exclusiveJoin(kj::mv(following));
}

}  // namespace belay::shim
