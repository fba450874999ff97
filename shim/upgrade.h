// A shim is replaced by another program in the same process: its children stay its children, its
// descriptors stay open, its pid stays what everybody knows.
#pragma once

#include <capnp/serialize.h>
#include <kj/async.h>
#include <kj/io.h>

#include "shim/connections.h"
#include "shim/pod.h"

namespace belay::shim {

class Upgrade final {
 public:
  // `podDirectory` is the pod's directory's path, `lock` the descriptor of its lock (shim-lock.h).
  // All outlive this object.
  Upgrade(ShimContext& context, Pod& pod, Connections& connections, kj::StringPtr podDirectory,
          int lock)
      : context(context),
        pod(pod),
        connections(connections),
        podDirectory(podDirectory),
        lock(lock) {}
  KJ_DISALLOW_COPY_AND_MOVE(Upgrade);

  // Executes `program`, after it has said in a child that it understands what it will be handed.
  // Work under way is waited for (work.h) up to `limit`, and no write to a log is cut off. Resolves
  // only with the reason why it was not done; everything goes on then as it was. Not twice at once.
  // Dropping the promise may leave it undone.
  kj::Promise<FailureValue> run(kj::AutoCloseFd program, kj::Duration limit);

 private:
  ShimContext& context;
  Pod& pod;
  Connections& connections;
  kj::StringPtr podDirectory;
  int lock;
  bool running = false;

  struct Described {
    kj::AutoCloseFd file;   // the memory file with the handover
    kj::Vector<int> named;  // all descriptors that it names
  };
  Described describe();
  kj::Promise<kj::Maybe<FailureValue>> check(int program);
  kj::Promise<kj::Maybe<FailureValue>> whenQuiet(kj::Duration limit);
  FailureValue execute(int program);
};

// In the program that was executed: what `--resume NUMBER` names.
class ReceivedHandover {
 public:
  // Takes over the memory file; throws if it is no handover. Everything it names is made
  // close-on-exec.
  explicit ReceivedHandover(int number);

  Handover::Reader get() { return message.getRoot<Handover>(); }
  // All that must stay open, this file among them.
  kj::Vector<int> descriptors();

 private:
  int number;
  capnp::StreamFdMessageReader message;
};

// What `--check-handover` does: the sentence that says why this program could not go on with the
// pod in that directory, if so.
kj::Maybe<kj::String> findHandoverFault(int podDirFd, kj::StringPtr podId,
                                        Handover::Reader handover);

}  // namespace belay::shim
