// belayd's end of one pod's shim, or of one after the other: a connection that is made anew when it
// breaks, news of the pod's containers, word of the shim's death, and the descriptors that must not
// die with it.
#pragma once

#include <capnp/rpc-twoparty.h>
#include <kj/async-io.h>
#include <kj/async-unix.h>
#include <kj/io.h>
#include <kj/timer.h>

#include "shim/shim.capnp.h"
#include "supervisor/held-descriptors.h"
#include "supervisor/owned.h"

namespace belay::supervisor {

class ShimConnection final : private kj::TaskSet::ErrorHandler {
 public:
  // Who is told what happens in the pod. Always called from the event loop.
  class Observer {
   public:
    virtual void containerChanged(shim::ContainerState::Reader state) = 0;
    // Nothing comes after it but from a successor.
    virtual void shimDied() = 0;

   protected:
    ~Observer() = default;
  };

  // `podFolder` is the pod's directory, /run/belay/pods/ID; the connection keeps a duplicate. What
  // the shim hands out goes to `held`, and stays there. Everything given by reference outlives the
  // connection.
  ShimConnection(kj::LowLevelAsyncIoProvider& io, kj::UnixEventPort& port, kj::Timer& timer,
                 int podFolder, HeldDescriptors& held, Observer& observer);
  ~ShimConnection() noexcept(false);
  KJ_DISALLOW_COPY_AND_MOVE(ShimConnection);

  // For a shim that was just started: `socket` is the other end of its fd 3.
  void attach(kj::AutoCloseFd socket, kj::AutoCloseFd pidfd);

  // For a shim that lives already: connects to its socket and learns who it is. Throws NOT_FOUND
  // when no shim listens there: it is dead; or one that was to adopt the pod and had not been told
  // to when its belayd died: it is killed, and somebody else has to adopt the pod. Whoever sets a
  // deadline drops the promise. May be called again after a failure, until it succeeded once.
  kj::Promise<void> connect();

  // Says that the dead shim (Observer::shimDied(), or one that was never met) is to have a
  // successor: client() waits for it.
  void expectSuccessor();
  // The successor, as attach(): it gets what is held of `containers`, adopts the pod, and tells all
  // it knows, before anybody else speaks to it. Throws when it does not; another one may be tried
  // then.
  kj::Promise<void> adopt(kj::AutoCloseFd socket, kj::AutoCloseFd pidfd,
                          kj::Array<kj::String> containers,
                          kj::Array<Owned<shim::OrphanExit>> exits);
  // There will be none.
  void giveUp();

  // Tells a shim that is connected; one that is to come hears of it when it adopts the pod.
  void tellOrphanExited(shim::OrphanExit::Reader exit);

  // The shim, once there is a connection. Throws UNAVAILABLE when the shim is dead, and when no
  // connection comes about within `limit`.
  kj::Promise<shim::Shim::Client> client(kj::Duration limit = 10 * kj::SECONDS);

  // Has the shim replace itself by `program`, an open belay-shim; who calls client() meanwhile
  // waits. Gives what the shim says of itself afterwards. Throws if it was not done, and the shim
  // is as it was: FAILED_PRECONDITION if it or the program cannot, DEADLINE_EXCEEDED if what is
  // under way in it does not end within `limit`.
  kj::Promise<uint32_t> upgrade(kj::AutoCloseFd program, kj::Duration limit);

  bool isConnected() const { return session != nullptr; }
  bool isDead() const { return dead; }
  // It was connected at least once: what the pod's containers do is known.
  bool wasReached() const { return pidfd.get() >= 0; }

  // Resolves when the present process has exited (never for one that was not reached yet).
  kj::Promise<void> whenDead() { return death.addBranch(); }

  // Closes the connection for good: the shim was asked to end, and waits for its peers to leave.
  void hangUp();

  // For a belayd that is being replaced: hears and does nothing of its own any more. Calls in
  // progress go on.
  void retire();

  // SIGKILL to the shim itself, also to one that does not answer.
  void kill();

 private:
  struct Session;
  class WatcherServer;

  kj::LowLevelAsyncIoProvider& io;
  kj::UnixEventPort& port;
  kj::Timer& timer;
  kj::AutoCloseFd podFolder;
  HeldDescriptors& held;
  Observer& observer;

  bool dead = false;
  bool expecting = false;  // a successor
  bool hungUp = false;
  bool replacing = false;  // the program of the shim
  kj::AutoCloseFd pidfd;
  kj::AutoCloseFd dialled;  // the process that listens, which may never have answered
  kj::Maybe<kj::Own<Session>> session;
  uint64_t sessionNumber = 0;
  kj::Vector<kj::Own<WatcherServer>> watchers;

  // Whoever waits for the next session, or the end of it all.
  kj::Own<kj::PromiseFulfiller<void>> connectedFulfiller;
  kj::ForkedPromise<void> connected;
  kj::Own<kj::PromiseFulfiller<void>> deathFulfiller;
  kj::ForkedPromise<void> death;
  kj::TaskSet tasks;

  kj::AutoCloseFd dial();
  kj::Promise<bool> isUntold(shim::Shim::Client shim);
  void begin(kj::Own<Session> fresh);
  void supervise(kj::AutoCloseFd process);
  kj::Promise<void> askToUpgrade(kj::AutoCloseFd program, kj::Duration limit);
  kj::Promise<void> handOn(shim::Shim::Client shim, kj::StringPtr containerId);
  void waitForNextSession();
  void lose();
  void watch(shim::Shim::Client shim);
  kj::Promise<void> catchUp(shim::Shim::Client shim);
  void releaseOthers(capnp::List<shim::Shim::Descriptor>::Reader present);
  kj::Promise<void> keep(kj::String name, shim::File::Client file);
  kj::Promise<void> superviseProcess();
  kj::Promise<void> superviseSession();
  kj::Promise<void> sessionEnd();
  kj::Promise<void> redial();
  void taskFailed(kj::Exception&& exception) override;
};

}  // namespace belay::supervisor
