// A shim without containers, for tests: speaks shim.capnp on a real socket in a pod's folder, tells
// what it was given to tell, and writes down what it is asked.
#pragma once

#include <capnp/rpc-twoparty.h>
#include <kj/async-io.h>
#include <kj/vector.h>
#include <sys/types.h>

#include "shim/shim.capnp.h"
#include "supervisor/owned.h"

namespace belay::supervisor {

// A container's state in few words.
Owned<shim::ContainerState> stateOf(kj::StringPtr id, shim::Stage stage, int exitCode = 0);

// Listens on FOLDER/shim.sock in this process, on this event loop.
class FakeShim {
 public:
  FakeShim(kj::LowLevelAsyncIoProvider& io, kj::StringPtr folder);
  ~FakeShim() noexcept(false);
  KJ_DISALLOW_COPY_AND_MOVE(FakeShim);

  // What it tells.
  kj::Vector<Owned<shim::ContainerState>> containers;
  // Name and descriptor (borrowed) of what it hands out.
  kj::Vector<kj::String> descriptorNames;
  int descriptor = -1;
  // Exits the process when its pod is removed, as a shim does.
  bool exitsOnRemove = false;

  // What it was asked, "remove c1", in order; also appended to FOLDER.calls, a line each.
  kj::Vector<kj::String> calls;
  // One for each watch() of a connection that lives.
  kj::Vector<shim::Watcher::Client> watchers;

  // Closes all connections; new ones are accepted.
  void dropConnections();

 private:
  class Server;
  class ContainerServer;
  struct Connection;

  kj::String folder;
  kj::Own<kj::ConnectionReceiver> receiver;
  shim::Shim::Client shim;
  kj::Vector<kj::Own<Connection>> connections;
  kj::Promise<void> accepting = nullptr;

  void record(kj::String call);
  kj::Promise<void> accept();
};

// The same in a process of its own, which can be killed. Dropping it kills it.
class FakeShimProcess {
 public:
  // `prepare` sets the fake up, in the new process.
  template <typename Prepare>
  FakeShimProcess(kj::StringPtr folder, Prepare&& prepare) : folder(kj::str(folder)) {
    if (begin()) serve(kj::fwd<Prepare>(prepare));
  }
  ~FakeShimProcess() noexcept(false);
  KJ_DISALLOW_COPY_AND_MOVE(FakeShimProcess);

  void signal(int number);
  // It has exited by itself or was killed.
  bool hasEnded();
  // What it was asked.
  kj::String calls();

 private:
  kj::String folder;
  pid_t pid = 0;
  bool reaped = false;

  // True in the new process. Returns in the old one when the new one listens.
  bool begin();
  [[noreturn]] void serve(kj::Function<void(FakeShim&)> prepare);
};

}  // namespace belay::supervisor
