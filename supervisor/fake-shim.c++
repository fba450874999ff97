// See fake-shim.h.
#include "supervisor/fake-shim.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <kj/thread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "supervisor/text-file.h"
#include "supervisor/unix-socket.h"

namespace belay::supervisor {

namespace {

constexpr uint MAX_FDS_PER_MESSAGE = 16;

class FileServer final : public shim::File::Server {
 public:
  explicit FileServer(int fd) : fd(fd) {}
  kj::Maybe<int> getFd() override { return fd; }

 private:
  int fd;
};

}  // namespace

Owned<shim::ContainerState> stateOf(kj::StringPtr id, shim::Stage stage, int exitCode) {
  return Owned<shim::ContainerState>::make([&](shim::ContainerState::Builder state) {
    state.setId(id);
    state.setStage(stage);
    state.setCreatedAtNs(1);
    if (stage != shim::Stage::CREATED) state.setStartedAtNs(2);
    if (stage == shim::Stage::EXITED) {
      state.initExit().setCode(exitCode);
      state.getExit().setFinishedAtNs(3);
    }
  });
}

class FakeShim::ContainerServer final : public shim::Container::Server {
 public:
  ContainerServer(FakeShim& fake, kj::String id) : fake(fake), id(kj::mv(id)) {}

  kj::Promise<void> remove(RemoveContext context) override {
    fake.record(kj::str("remove ", id));
    kj::Vector<Owned<shim::ContainerState>> left;
    for (auto& state : fake.containers) {
      if (state.get().getId() != id) left.add(state);
    }
    fake.containers = kj::mv(left);
    context.getResults().initOutcome().setDone();
    return kj::READY_NOW;
  }

  kj::Promise<void> stop(StopContext context) override {
    fake.record(kj::str("stop ", id, " signal ", context.getParams().getSignal()));
    for (auto& state : fake.containers) {
      if (state.get().getId() == id) state = stateOf(id, shim::Stage::EXITED, 137);
    }
    context.getResults().initOutcome().setDone();
    return kj::READY_NOW;
  }

 private:
  FakeShim& fake;
  kj::String id;
};

class FakeShim::Server final : public shim::Shim::Server {
 public:
  explicit Server(FakeShim& fake) : fake(fake) {}

  kj::Promise<void> info(InfoContext context) override {
    context.getResults().setPid(getpid());
    return kj::READY_NOW;
  }

  kj::Promise<void> state(StateContext context) override {
    auto list = context.getResults().initState().initContainers(fake.containers.size());
    for (size_t i = 0; i < fake.containers.size(); ++i) {
      list.setWithCaveats(i, fake.containers[i].get());
    }
    return kj::READY_NOW;
  }

  kj::Promise<void> container(ContainerContext context) override {
    auto id = context.getParams().getId();
    for (auto& state : fake.containers) {
      if (state.get().getId() != id) continue;
      context.getResults().initOutcome().setDone();
      context.getResults().setContainer(kj::heap<ContainerServer>(fake, kj::str(id)));
      return kj::READY_NOW;
    }
    auto failure = context.getResults().initOutcome().initFailed();
    failure.setCode(shim::Failure::Code::NOT_FOUND);
    failure.setMessage("no such container");
    return kj::READY_NOW;
  }

  kj::Promise<void> watch(WatchContext context) override {
    fake.watchers.add(context.getParams().getWatcher());
    return kj::READY_NOW;
  }

  kj::Promise<void> descriptors(DescriptorsContext context) override {
    auto list = context.getResults().initDescriptors(fake.descriptorNames.size());
    for (size_t i = 0; i < fake.descriptorNames.size(); ++i) {
      list[i].setName(fake.descriptorNames[i]);
      list[i].setFile(kj::heap<FileServer>(fake.descriptor));
    }
    return kj::READY_NOW;
  }

  kj::Promise<void> removePod(RemovePodContext context) override {
    fake.record(kj::str("remove pod"));
    if (fake.exitsOnRemove) _exit(0);
    context.getResults().initOutcome().setDone();
    return kj::READY_NOW;
  }

 private:
  FakeShim& fake;
};

struct FakeShim::Connection {
  Connection(kj::Own<kj::AsyncCapabilityStream> ownStream, shim::Shim::Client shim)
      : stream(kj::mv(ownStream)),
        network(*stream, MAX_FDS_PER_MESSAGE, capnp::rpc::twoparty::Side::SERVER),
        rpc(capnp::makeRpcServer(network, kj::mv(shim))) {}

  kj::Own<kj::AsyncCapabilityStream> stream;
  capnp::TwoPartyVatNetwork network;
  capnp::RpcSystem<capnp::rpc::twoparty::VatId> rpc;
};

FakeShim::FakeShim(kj::LowLevelAsyncIoProvider& io, kj::StringPtr folder)
    : folder(kj::str(folder)),
      receiver(io.wrapListenSocketFd(listenOnUnixSocket(kj::str(folder, "/shim.sock"), 0600))),
      shim(kj::heap<Server>(*this)) {
  accepting = accept().eagerlyEvaluate(nullptr);
}

FakeShim::~FakeShim() noexcept(false) = default;

void FakeShim::dropConnections() {
  auto dropped = kj::mv(connections);
}

void FakeShim::record(kj::String call) {
  int file;
  KJ_SYSCALL(file = open(kj::str(folder, ".calls").cStr(),
                         O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  kj::FdOutputStream(kj::AutoCloseFd(file)).write(kj::str(call, '\n').begin(), call.size() + 1);
  calls.add(kj::mv(call));
}

kj::Promise<void> FakeShim::accept() {
  for (;;) {
    auto stream = co_await receiver->accept();
    connections.add(kj::heap<Connection>(stream.downcast<kj::AsyncCapabilityStream>(), shim));
  }
}

FakeShimProcess::~FakeShimProcess() noexcept(false) {
  if (hasEnded()) return;
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
}

bool FakeShimProcess::begin() {
  int pipe[2];
  KJ_SYSCALL(pipe2(pipe, O_CLOEXEC));
  kj::AutoCloseFd readEnd(pipe[0]), writeEnd(pipe[1]);
  KJ_SYSCALL(pid = fork());
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    // Closing the last copy of it says that the socket is there.
    KJ_SYSCALL(dup3(writeEnd, STDIN_FILENO, O_CLOEXEC));
    return true;
  }
  writeEnd = nullptr;
  char byte;
  ssize_t count;
  KJ_SYSCALL(count = read(readEnd, &byte, 1));
  KJ_REQUIRE(count == 0);
  return false;
}

// On a thread of its own: the forked one has the parent's event loop, whose epoll descriptor the
// parent uses still.
void FakeShimProcess::serve(kj::Function<void(FakeShim&)> prepare) {
  {
    kj::Thread thread([&] {
      auto io = kj::setupAsyncIo();
      FakeShim fake(*io.lowLevelProvider, folder);
      fake.exitsOnRemove = true;
      prepare(fake);
      close(STDIN_FILENO);
      kj::Promise<void>(kj::NEVER_DONE).wait(io.waitScope);
    });
  }
  _exit(1);
}

void FakeShimProcess::signal(int number) {
  KJ_SYSCALL(kill(pid, number));
}

bool FakeShimProcess::hasEnded() {
  if (!reaped) {
    int result = waitpid(pid, nullptr, WNOHANG);
    // ECHILD: somebody else in this process has reaped it.
    reaped = result == pid || (result < 0 && errno == ECHILD);
  }
  return reaped;
}

kj::String FakeShimProcess::calls() {
  auto path = kj::str(folder, ".calls");
  if (access(path.cStr(), F_OK) != 0) return kj::String();
  return readTextFile(path, 1 << 20);
}

}  // namespace belay::supervisor
