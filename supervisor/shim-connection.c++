// See shim-connection.h.
#include "supervisor/shim-connection.h"

#include <capnp/message.h>
#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "shim/file-server.h"
#include "snapshot/failure.h"
#include "supervisor/shim-failure.h"

namespace belay::supervisor {

namespace {

using snapshot::Code;
using snapshot::fail;

// Both sides need the same; shim.capnp says how many a message may carry.
constexpr uint MAX_FDS_PER_MESSAGE = 16;

// The first version of shim.capnp with Shim.upgrade.
constexpr uint FIRST_REPLACEABLE = 2;

constexpr kj::Duration FIRST_REDIAL = 20 * kj::MILLISECONDS;
constexpr kj::Duration SLOWEST_REDIAL = 2 * kj::SECONDS;

// What a dead shim had sent is read to its end; somebody who inherited the socket must not delay
// that for ever.
constexpr kj::Duration LAST_WORDS = 1 * kj::SECONDS;

kj::AutoCloseFd duplicate(int fd) {
  int copy;
  KJ_SYSCALL(copy = fcntl(fd, F_DUPFD_CLOEXEC, 0));
  return kj::AutoCloseFd(copy);
}

// The process that called listen(2) on the peer's socket: the shim. Its pid cannot have been used
// again if it answers on this connection afterwards.
kj::AutoCloseFd pidfdOfPeer(int socket) {
  ucred credentials;
  socklen_t size = sizeof(credentials);
  KJ_SYSCALL(getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size));
  if (credentials.uid != geteuid() && credentials.uid != 0) {
    fail(Code::INTERNAL, "the shim's socket belongs to user ", credentials.uid,
         ", not to belayd's");
  }
  int fd;
  KJ_SYSCALL_HANDLE_ERRORS(fd = static_cast<int>(syscall(SYS_pidfd_open, credentials.pid, 0))) {
    case ESRCH:
      fail(Code::NOT_FOUND, "the shim has just died");
    default:
      KJ_FAIL_SYSCALL("pidfd_open", error, credentials.pid);
  }
  return kj::AutoCloseFd(fd);
}

void signalProcess(int pidfd, int number) {
  KJ_SYSCALL_HANDLE_ERRORS(syscall(SYS_pidfd_send_signal, pidfd, number, nullptr, 0)) {
    case ESRCH:
      break;
    default:
      KJ_FAIL_SYSCALL("pidfd_send_signal to the shim", error);
  }
}

}  // namespace

struct ShimConnection::Session {
  Session(kj::LowLevelAsyncIoProvider& io, kj::AutoCloseFd socket)
      : stream(io.wrapUnixSocketFd(kj::mv(socket))),
        network(*stream, MAX_FDS_PER_MESSAGE, capnp::rpc::twoparty::Side::CLIENT),
        rpc(capnp::makeRpcClient(network)),
        shim(bootstrap()) {}

  kj::Own<kj::AsyncCapabilityStream> stream;
  capnp::TwoPartyVatNetwork network;
  capnp::RpcSystem<capnp::rpc::twoparty::VatId> rpc;
  shim::Shim::Client shim;

 private:
  shim::Shim::Client bootstrap() {
    capnp::MallocMessageBuilder message;
    auto vat = message.initRoot<capnp::rpc::twoparty::VatId>();
    vat.setSide(capnp::rpc::twoparty::Side::SERVER);
    return rpc.bootstrap(vat).castAs<shim::Shim>();
  }
};

// What the shim calls. It may be held by a call in progress for a moment longer than the
// connection.
class ShimConnection::WatcherServer final : public shim::Watcher::Server, public kj::Refcounted {
 public:
  explicit WatcherServer(ShimConnection& connection) : connection(connection) {}
  void forget() { connection = nullptr; }

  kj::Promise<void> changed(ChangedContext context) override {
    KJ_IF_MAYBE (live, connection) {
      live->observer.containerChanged(context.getParams().getState());
    }
    return kj::READY_NOW;
  }

  kj::Promise<void> descriptors(DescriptorsContext context) override {
    KJ_IF_MAYBE (live, connection) {
      live->releaseOthers(context.getParams().getDescriptors());
      for (auto descriptor : context.getParams().getDescriptors()) {
        if (descriptor.hasFile()) {
          live->tasks.add(live->keep(kj::str(descriptor.getName()), descriptor.getFile()));
        } else {
          live->held.release(descriptor.getName());
        }
      }
    }
    return kj::READY_NOW;
  }

 private:
  kj::Maybe<ShimConnection&> connection;
};

ShimConnection::ShimConnection(kj::LowLevelAsyncIoProvider& io, kj::UnixEventPort& port,
                               kj::Timer& timer, int podFolder, HeldDescriptors& held,
                               Observer& observer)
    : io(io),
      port(port),
      timer(timer),
      podFolder(duplicate(podFolder)),
      held(held),
      observer(observer),
      connected(nullptr),
      death(nullptr),
      tasks(*this) {
  auto connectedPaf = kj::newPromiseAndFulfiller<void>();
  connectedFulfiller = kj::mv(connectedPaf.fulfiller);
  connected = connectedPaf.promise.fork();
  auto deathPaf = kj::newPromiseAndFulfiller<void>();
  deathFulfiller = kj::mv(deathPaf.fulfiller);
  death = deathPaf.promise.fork();
}

ShimConnection::~ShimConnection() noexcept(false) {
  for (auto& watcher : watchers)
    watcher->forget();
}

void ShimConnection::attach(kj::AutoCloseFd socket, kj::AutoCloseFd process) {
  supervise(kj::mv(process));
  auto fresh = kj::heap<Session>(io, kj::mv(socket));
  watch(fresh->shim);
  begin(kj::mv(fresh));
}

kj::Promise<void> ShimConnection::connect() {
  auto socket = dial();
  auto process = pidfdOfPeer(socket);
  dialled = duplicate(process);
  auto fresh = kj::heap<Session>(io, kj::mv(socket));
  co_await fresh->shim.infoRequest().send();
  if (co_await isUntold(fresh->shim)) {
    signalProcess(process, SIGKILL);
    kj::UnixEventPort::FdObserver exit(port, process, kj::UnixEventPort::FdObserver::OBSERVE_READ);
    co_await exit.whenBecomesReadable();
    fail(Code::NOT_FOUND, "the shim that was to adopt the pod had not been told to yet");
  }
  watch(fresh->shim);
  co_await catchUp(fresh->shim);
  if (pidfd.get() < 0) supervise(kj::mv(process));
  begin(kj::mv(fresh));
}

// A dead shim has left a record of its pod, and the one that is there has none: whoever started it
// died before it was told to adopt the pod.
kj::Promise<bool> ShimConnection::isUntold(shim::Shim::Client shim) {
  if (faccessat(podFolder, "state", F_OK, 0) != 0) co_return false;
  auto answer = co_await shim.stateRequest().send();
  co_return !answer.getState().getCreated();
}

void ShimConnection::supervise(kj::AutoCloseFd process) {
  pidfd = kj::mv(process);
  tasks.add(superviseProcess());
}

void ShimConnection::expectSuccessor() {
  expecting = true;
  dead = false;
  session = nullptr;
  waitForNextSession();
  auto paf = kj::newPromiseAndFulfiller<void>();
  deathFulfiller = kj::mv(paf.fulfiller);
  death = paf.promise.fork();
}

kj::Promise<void> ShimConnection::adopt(kj::AutoCloseFd socket, kj::AutoCloseFd process,
                                        kj::Array<kj::String> containers,
                                        kj::Array<Owned<shim::OrphanExit>> exits) {
  auto fresh = kj::heap<Session>(io, kj::mv(socket));
  for (auto& id : containers)
    co_await handOn(fresh->shim, id);
  auto request = fresh->shim.adoptRequest();
  auto list = request.initExits(exits.size());
  for (auto i : kj::indices(exits))
    list.setWithCaveats(i, exits[i].get());
  requireDone((co_await request.send()).getOutcome());
  watch(fresh->shim);
  co_await catchUp(fresh->shim);
  expecting = false;
  supervise(kj::mv(process));
  begin(kj::mv(fresh));
}

// One container's are fewer than a message can carry.
kj::Promise<void> ShimConnection::handOn(shim::Shim::Client shim, kj::StringPtr containerId) {
  auto all = held.allOf(containerId);
  if (all.size() == 0) return kj::READY_NOW;
  auto request = shim.inheritRequest();
  auto list = request.initDescriptors(all.size());
  for (auto i : kj::indices(all)) {
    list[i].setName(all[i].name);
    list[i].setFile(kj::heap<shim::FileServer>(duplicate(all[i].fd)));
  }
  return request.send().ignoreResult();
}

void ShimConnection::tellOrphanExited(shim::OrphanExit::Reader exit) {
  KJ_IF_MAYBE (live, session) {
    auto request = (*live)->shim.orphanExitedRequest();
    request.setExit(exit);
    tasks.add(request.send().ignoreResult());
  }
}

void ShimConnection::giveUp() {
  expecting = false;
  dead = true;
  connectedFulfiller->fulfill();
  deathFulfiller->fulfill();
}

kj::Promise<shim::Shim::Client> ShimConnection::client(kj::Duration limit) {
  auto end = timer.now() + limit;
  while ((session == nullptr || replacing) && !dead && !hungUp && timer.now() < end) {
    co_await connected.addBranch().exclusiveJoin(timer.atTime(end));
  }
  if (dead) fail(Code::UNAVAILABLE, "the pod's shim is dead");
  KJ_IF_MAYBE (live, session) {
    co_return (*live)->shim;
  }
  fail(Code::UNAVAILABLE, "the pod's shim does not answer");
}

kj::Promise<uint32_t> ShimConnection::upgrade(kj::AutoCloseFd program, kj::Duration limit) {
  auto shim = co_await client();
  auto info = co_await shim.infoRequest().send();
  if (info.getProtocolVersion() < FIRST_REPLACEABLE) {
    fail(Code::FAILED_PRECONDITION, "the shim speaks protocol version ", info.getProtocolVersion(),
         ", in which it cannot be replaced: it stays with its pod");
  }
  auto before = info.getGeneration();
  if (replacing) fail(Code::FAILED_PRECONDITION, "the shim is being replaced already");
  {
    replacing = true;
    waitForNextSession();
    KJ_DEFER({
      replacing = false;
      if (session != nullptr) connectedFulfiller->fulfill();
    });
    co_await askToUpgrade(kj::mv(program), limit);
  }
  auto next = co_await client();
  auto after = (co_await next.infoRequest().send()).getGeneration();
  if (after == before) fail(Code::INTERNAL, "the shim has not been replaced");
  co_return after;
}

// Resolves when the connection has ended.
kj::Promise<void> ShimConnection::askToUpgrade(kj::AutoCloseFd program, kj::Duration limit) {
  auto& live = *KJ_REQUIRE_NONNULL(session);
  auto request = live.shim.upgradeRequest();
  request.setProgram(kj::heap<shim::FileServer>(kj::mv(program)));
  request.setLimitMs(limit / kj::MILLISECONDS);
  auto own = sessionNumber;
  auto refusal = request.send().then([](auto answer) { requireDone(answer.getOutcome()); });
  // The answer to one that is done is that there is none.
  co_await refusal.catch_([](kj::Exception&& exception) {
    if (!isLostShim(exception)) kj::throwFatalException(kj::mv(exception));
  });
  if (own == sessionNumber && !dead && !expecting) lose();
}

// The connection has ended, and the process lives.
void ShimConnection::lose() {
  ++sessionNumber;
  session = nullptr;
  waitForNextSession();
  tasks.add(redial());
}

void ShimConnection::hangUp() {
  hungUp = true;
  session = nullptr;
}

void ShimConnection::retire() {
  for (auto& watcher : watchers)
    watcher->forget();
  tasks.clear();
}

void ShimConnection::kill() {
  int process = pidfd.get() >= 0 ? pidfd.get() : dialled.get();
  if (process >= 0) signalProcess(process, SIGKILL);
}

kj::AutoCloseFd ShimConnection::dial() {
  int fd;
  KJ_SYSCALL(fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  kj::AutoCloseFd own(fd);
  // By way of the folder's descriptor: a socket's path may have 107 bytes only (unix(7)).
  auto path = kj::str("/proc/self/fd/", podFolder.get(), "/shim.sock");
  sockaddr_un address{.sun_family = AF_UNIX};
  KJ_REQUIRE(path.size() < sizeof(address.sun_path));
  memcpy(address.sun_path, path.cStr(), path.size() + 1);
  KJ_SYSCALL_HANDLE_ERRORS(
      ::connect(own, reinterpret_cast<const sockaddr*>(&address), sizeof(address))) {
    case ENOENT:
    case ECONNREFUSED:
      fail(Code::NOT_FOUND, "no shim listens on the pod's socket");
    case EAGAIN:
      fail(Code::UNAVAILABLE, "the shim does not accept connections");
    default:
      KJ_FAIL_SYSCALL("connect to the shim", error);
  }
  return own;
}

void ShimConnection::watch(shim::Shim::Client shim) {
  for (auto& old : watchers)
    old->forget();
  watchers.clear();
  auto watcher = kj::refcounted<WatcherServer>(*this);
  watchers.add(kj::addRef(*watcher));
  auto request = shim.watchRequest();
  request.setWatcher(kj::mv(watcher));
  tasks.add(request.send().ignoreResult());
}

// What a shim that has lived on without us has to tell.
kj::Promise<void> ShimConnection::catchUp(shim::Shim::Client shim) {
  // Both at once: a node has a hundred shims to hear out.
  auto asking = shim.descriptorsRequest().send().dropPipeline();
  auto answering = shim.stateRequest().send().dropPipeline();
  auto kept = co_await asking;
  for (auto descriptor : kept.getDescriptors()) {
    co_await keep(kj::str(descriptor.getName()), descriptor.getFile());
  }
  auto answer = co_await answering;
  for (auto container : answer.getState().getContainers()) {
    observer.containerChanged(container);
  }
}

// A message that brings a container's descriptors brings all of them: what was released while
// nobody here heard of it is let go of, too.
void ShimConnection::releaseOthers(capnp::List<shim::Shim::Descriptor>::Reader present) {
  if (present.size() == 0 || !present[0].hasFile()) return;
  auto first = present[0].getName();
  auto containerId = kj::str(first.slice(0, first.findFirst('/').orDefault(first.size())));
  kj::Vector<kj::String> stale;
  for (auto& kept : held.allOf(containerId)) {
    bool listed = false;
    for (auto descriptor : present)
      listed = listed || descriptor.getName() == kept.name;
    if (!listed) stale.add(kj::str(kept.name));
  }
  for (auto& name : stale)
    held.release(name);
}

kj::Promise<void> ShimConnection::keep(kj::String name, shim::File::Client file) {
  auto received = co_await file.getFd();
  KJ_IF_MAYBE (fd, received) {
    held.keep(name, duplicate(*fd));
  } else {
    KJ_LOG(WARNING, "a shim's descriptor did not arrive", name);
  }
}

void ShimConnection::begin(kj::Own<Session> fresh) {
  session = kj::mv(fresh);
  connectedFulfiller->fulfill();
  tasks.add(superviseSession());
}

kj::Promise<void> ShimConnection::superviseProcess() {
  kj::UnixEventPort::FdObserver exit(port, pidfd, kj::UnixEventPort::FdObserver::OBSERVE_READ);
  co_await exit.whenBecomesReadable();
  if (session != nullptr) {
    co_await sessionEnd().exclusiveJoin(timer.afterDelay(LAST_WORDS));
  }
  dead = true;
  session = nullptr;
  connectedFulfiller->fulfill();
  deathFulfiller->fulfill();
  observer.shimDied();
}

kj::Promise<void> ShimConnection::sessionEnd() {
  KJ_IF_MAYBE (live, session) {
    return (*live)->network.onDisconnect();
  }
  return kj::READY_NOW;
}

kj::Promise<void> ShimConnection::superviseSession() {
  auto own = ++sessionNumber;
  co_await sessionEnd();
  if (own != sessionNumber) co_return;  // another one has taken its place
  if (dead || expecting || hungUp) {
    session = nullptr;
  } else {
    lose();
  }
}

void ShimConnection::waitForNextSession() {
  // Who waits looks again.
  connectedFulfiller->fulfill();
  auto paf = kj::newPromiseAndFulfiller<void>();
  connectedFulfiller = kj::mv(paf.fulfiller);
  connected = paf.promise.fork();
}

// Until it succeeds or the process is gone, which superviseProcess() notices.
kj::Promise<void> ShimConnection::redial() {
  for (auto pause = FIRST_REDIAL;; pause = kj::min(pause * 2, SLOWEST_REDIAL)) {
    if (dead || expecting || session != nullptr) co_return;
    try {
      co_await connect();
      co_return;
    } catch (const kj::Exception& exception) {
      KJ_LOG(INFO, "the shim cannot be reached, trying again", exception.getDescription());
    }
    co_await timer.afterDelay(pause);
  }
}

void ShimConnection::taskFailed(kj::Exception&& exception) {
  // A watch that broke with its connection; superviseSession() sees to the next one.
  if (exception.getType() == kj::Exception::Type::DISCONNECTED) return;
  KJ_LOG(ERROR, "watching a shim failed", exception);
}

}  // namespace belay::supervisor
