// Handing a system call filter's listener (SECCOMP_RET_USER_NOTIF, seccomp_unotify(2)) to the
// program that answers for the container.
//
// A child of the engine connects to that program while it still sees the host's files. The process
// that loads the filter tells its parent the listener's number and waits; the parent takes the
// descriptor out of it, sends it over the connection and lets it go on. It could not send it
// itself: the filter may refer that very call, and nobody is there yet to answer.
#pragma once

#include <kj/io.h>
#include <kj/string.h>
#include <sys/types.h>

#include "shim/engine/failure-value.h"
#include "shim/engine/report.h"
#include "shim/spec.capnp.h"

namespace belay::shim {

bool hasListener(ProcessSpec::Reader process);

// The connection of a process with a listener; -1 without one. For children after the clone, in the
// host's mount namespace: allocates nothing, may hang, reports failures and exits.
int connectToListener(const Reporter& reporter, ProcessSpec::Reader process);

// For the process that has loaded the filter: tells the parent, and returns once the descriptor is
// where it belongs.
void offerListener(const Reporter& reporter, int listener);

// The parent's side, for one process.
class ListenerHandover {
 public:
  // What runtime-spec's state says of the container meanwhile.
  enum class Status { CREATING, RUNNING };

  // Copies what it needs.
  ListenerHandover(ProcessSpec::Reader process, Status status);

  // Each comes once, in any order: the child's connection, and the listener's number in the
  // process.
  void connected(kj::AutoCloseFd connection) { this->connection = kj::mv(connection); }
  void loaded(int number) { listener = number; }
  bool isDue() const { return connection.get() >= 0 && listener >= 0; }

  struct Process {
    pid_t pid;
    int pidfd;
    pid_t firstPid;  // of the container
    int gate;        // where it waits
  };
  // When due. Never blocks: a program that does not take a first message at once is a failure.
  kj::Maybe<FailureValue> handOver(const Process& process);

 private:
  kj::String path, beforePid, beforeStatus, beforeFirstPid, end;
  Status status;
  kj::AutoCloseFd connection;
  int listener = -1;
};

}  // namespace belay::shim
