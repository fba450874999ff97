// The shim's connections to supervisors: the one it was started with, and those that come to its
// socket. All of them have the same bootstrap capability.
#pragma once

#include <capnp/capability.h>
#include <kj/async-io.h>
#include <kj/async-unix.h>

namespace belay::shim {

// What shim.capnp promises to carry; a container has at most five descriptors.
constexpr kj::uint MAX_FDS_PER_MESSAGE = 16;

class Connections final : private kj::TaskSet::ErrorHandler {
 public:
  // All references outlive this object.
  Connections(kj::LowLevelAsyncIoProvider& provider, kj::UnixEventPort& port,
              capnp::Capability::Client bootstrap);
  KJ_DISALLOW_COPY_AND_MOVE(Connections);

  // Serves a connected Unix stream socket until the other side closes it.
  void serve(kj::AutoCloseFd socket);

  // Listens on `name` in the directory, which is reached through its descriptor because socket
  // paths are short; a socket that a predecessor left is replaced. Only root and our own user are
  // served.
  void listen(int dirFd, kj::StringPtr name);

  // Goes on with the socket of another one.
  void listenOn(kj::AutoCloseFd socket);
  // Borrowed; negative if there is none.
  int listenerFd() const { return listener; }

  bool none() { return tasks.isEmpty(); }

  // Resolves when no connection is open. One waiter at a time.
  kj::Promise<void> whenNone() { return tasks.onEmpty(); }

 private:
  kj::Promise<void> serveUntilClosed(kj::AutoCloseFd socket);
  kj::Promise<void> acceptAll();
  void taskFailed(kj::Exception&& exception) override;

  kj::LowLevelAsyncIoProvider& provider;
  kj::UnixEventPort& port;
  capnp::Capability::Client bootstrap;
  kj::AutoCloseFd listener;
  kj::Maybe<kj::Promise<void>> listening;
  kj::TaskSet tasks;
};

}  // namespace belay::shim
