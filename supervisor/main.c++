// belayd: reads its configuration, meets the pods that live already, and serves the CRI on one
// thread until it is told to stop, or to become another program. Containers and shims outlive it.
#include <errno.h>
#include <kj/async-io.h>
#include <kj/async-unix.h>
#include <kj/debug.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "criapi/failure-status.h"
#include "criapi/grpc/server.h"
#include "criapi/service.h"
#include "criapi/streaming/stream-server.h"
#include "criapi/successor.h"
#include "failpoint/failpoint.h"
#include "snapshot/failure.h"
#include "snapshot/helpers.h"
#include "snapshot/overlay-snapshotter.h"
#include "supervisor/acceptor.h"
#include "supervisor/admin-server.h"
#include "supervisor/attempt.h"
#include "supervisor/config/command-line.h"
#include "supervisor/config/ip-endpoint.h"
#include "supervisor/handover.h"
#include "supervisor/homes.h"
#include "supervisor/listening-sockets.h"
#include "supervisor/log.h"
#include "supervisor/on-thread.h"
#include "supervisor/part-options.h"
#include "supervisor/process.h"
#include "supervisor/runtime-impl.h"
#include "supervisor/service-manager.h"
#include "supervisor/spec/apparmor.h"
#include "supervisor/unix-socket.h"
#include "supervisor/upgrade-command.h"
#include "supervisor/user-namespace-fault.h"
#include "supervisor/version.h"

namespace belay::supervisor {
namespace {

using snapshot::Code;
using snapshot::fail;

// How long calls in progress may go on after SIGTERM, while nobody serves new ones. What is not
// done by then is found half-made by the next belayd, and finished or undone there.
constexpr kj::Duration DRAIN_LIMIT = 3 * kj::SECONDS;

// How long work in progress may go on when belayd is to be replaced, so that it need not be undone.
constexpr kj::Duration SETTLE_LIMIT = 2 * kj::SECONDS;
constexpr kj::Duration LOOK_AGAIN = 1 * kj::MILLISECONDS;

// Clients that read only while they call learn late that there is a new belayd to connect to.
constexpr kj::Duration CLIENT_PATIENCE = 1 * kj::MINUTES;

// How long an administrator's client may take to read what it was answered.
constexpr kj::Duration GOODBYE_LIMIT = 10 * kj::SECONDS;

constexpr mode_t CRI_SOCKET_MODE = 0660;
constexpr mode_t ADMIN_SOCKET_MODE = 0600;

void logCall(const criapi::grpc::CallReport& report) {
  bool ok = report.code == criapi::grpc::Code::OK;
  log(ok ? LogLevel::DEBUG : LogLevel::INFO, "call", "path", report.path, "code",
      criapi::grpc::nameOf(report.code), "us", report.elapsed / kj::MICROSECONDS, "message",
      report.message);
}

// What comes from outside: from the service manager, or from the belayd that was this process.
struct Inheritance {
  kj::Vector<GivenDescriptor> given;
  kj::Maybe<Owned<Handover>> handover;
};

// Everything that lives as long as the daemon, in the order it is made.
class Daemon final : private kj::TaskSet::ErrorHandler {
 public:
  // The references outlive this object.
  Daemon(kj::AsyncIoContext& io, const Config& config, const Invocation& invocation, Homes& homes,
         Locks locks, Inheritance inherited)
      : io(io),
        config(config),
        invocation(invocation),
        timer(io.provider->getTimer()),
        locks(kj::mv(locks)),
        sockets(takeSockets(inherited, config)),
        children(io.unixEventPort),
        helpers(children, *io.lowLevelProvider, config.pullPath, homes.pullers),
        database(config.root),
        store(kj::str(config.root, "/content"), helpers),
        snapshotter(
            snapshot::newOverlaySnapshotter(kj::str(config.root, "/overlay"), store, helpers)),
        puller(store, helpers, pullerOptions(config)),
        apparmor(AppArmor::ofThisKernel()),
        specs(specOptions(config)),
        seccomp(kj::StringPtr(seccompFolder = kj::str(config.root, "/seccomp"))),
        cgroups(homes.cgroups),
        scopes(config.shimPath, children, cgroups, timer),
        folders(config.state),
        launcher(config.shimPath, children, cgroups),
        cni(cniOptions(config), children, timer, homes.plugins),
        inventory(database, held),
        operations(timer),
        parts{config,
              specs,
              *io.lowLevelProvider,
              io.unixEventPort,
              timer,
              database,
              held,
              inventory,
              operations,
              cgroups,
              scopes,
              folders,
              launcher,
              cni,
              seccomp,
              store,
              *snapshotter,
              puller},
        runtime(parts),
        streams(io.unixEventPort, timer, kj::systemPreciseMonotonicClock(), children, cgroups,
                runtime, config, kj::mv(sockets.streaming)),
        service(runtime, streams, VERSION_TEXT),
        server(timer, {.statusOf = &criapi::statusOfFailure,
                       .onCallEnd = kj::Function<void(const criapi::grpc::CallReport&)>(&logCall)}),
        admin(runtime, [this](kj::String program) { return upgrade(kj::mv(program)); }),
        predecessors(*this) {
    KJ_IF_MAYBE (present, apparmor) {
      specs.apparmor = present->get();
    }
    if (config.cgroupDriver == CgroupDriver::SYSTEMD) scopes.requireSystemd();
    service.registerOn(server);
    takeBack(inherited.given.asPtr());
    KJ_IF_MAYBE (handover, inherited.handover) takeBack(handover->get());
  }
  KJ_DISALLOW_COPY_AND_MOVE(Daemon);

  // Until it is told to stop, or has nothing left to do for clients of the belayd it was before.
  void run(kj::WaitScope& waitScope) {
    auto stop =
        io.unixEventPort.onSignal(SIGTERM).exclusiveJoin(io.unixEventPort.onSignal(SIGINT)).fork();
    reaping = children
                  .reapOrphans([this](pid_t pid, snapshot::ExitStatus status) {
                    inventory.orphanExited(pid, status);
                  })
                  .eagerlyEvaluate([](kj::Exception&& exception) {
                    KJ_LOG(ERROR, "orphans are not reaped any more", exception);
                  });
    runtime.reconcile().wait(waitScope);
    held.releaseStrangers([this](kj::StringPtr id) { return inventory.knowsContainer(id); });
    runtime.awaitTrials(tryMachine());

    listen();
    log(LogLevel::INFO, "serving", "listen", config.listen, "streaming", streams.baseUrl(),
        "version", VERSION_TEXT, "root", config.root);
    notifyServiceManager("READY=1");
    auto next = kj::newPromiseAndFulfiller<kj::String>();
    nextProgram = kj::mv(next.fulfiller);
    auto program =
        next.promise.exclusiveJoin(stop.addBranch().then([](siginfo_t) { return kj::String(); }))
            .wait(waitScope);
    if (program.size() > 0) {
      auto relay = becomeTwo(program);
      relayCalls(kj::mv(relay)).exclusiveJoin(stop.addBranch().ignoreResult()).wait(waitScope);
      // Nothing here is this process's to tidy up.
      _exit(0);
    }

    log(LogLevel::INFO, "told to stop; pods live on");
    notifyServiceManager("STOPPING=1");
    server.drain().exclusiveJoin(timer.afterDelay(DRAIN_LIMIT)).wait(waitScope);
  }

 private:
  kj::AsyncIoContext& io;
  const Config& config;
  const Invocation& invocation;
  kj::Timer& timer;
  Locks locks;
  ListeningSockets sockets;
  snapshot::Children children;
  snapshot::Helpers helpers;
  Database database;
  snapshot::Store store;
  kj::Own<snapshot::Snapshotter> snapshotter;
  snapshot::Puller puller;
  kj::Maybe<kj::Own<AppArmor>> apparmor;
  SpecOptions specs;
  kj::String seccompFolder;
  SeccompFilters seccomp;
  Cgroups& cgroups;
  PodScopes scopes;
  PodFolders folders;
  ShimLauncher launcher;
  Cni cni;
  HeldDescriptors held;
  Inventory inventory;
  Operations operations;
  Parts parts;
  RuntimeImpl runtime;
  criapi::streaming::StreamServer streams;
  criapi::CriService service;
  criapi::grpc::Server server;
  AdminServer admin;
  kj::PromiseFulfillerPair<void> serves = kj::newPromiseAndFulfiller<void>();
  kj::ForkedPromise<void> serving = serves.promise.fork();
  kj::TaskSet predecessors;  // whose clients' calls this one carries out

  kj::Promise<void> reaping = nullptr;
  kj::AutoCloseFd criListener, adminListener;
  kj::Own<Acceptor> criAcceptor, adminAcceptor;

  // The upgrade.
  bool upgrading = false;
  kj::Own<kj::PromiseFulfiller<kj::String>> nextProgram;
  kj::Own<kj::PromiseFulfiller<kj::String>> nextVersion;

  // Only what is new waits for it, not what belayd serves at once.
  kj::Promise<void> tryMachine() {
    auto profile = loadApparmorProfile();
    co_await tryUserNamespaces();
    co_await profile;
  }

  // Without it containers that ask for the default profile are refused.
  kj::Promise<void> loadApparmorProfile() {
    KJ_IF_MAYBE (present, apparmor) {
      return (*present)->loadDefault(children, timer).catch_([](kj::Exception&& exception) {
        log(LogLevel::ERROR, "the default AppArmor profile is not loaded", "profile",
            AppArmor::DEFAULT_PROFILE, "reason", snapshot::messageOf(exception));
      });
    }
    return kj::READY_NOW;
  }

  kj::Promise<void> tryUserNamespaces() {
    specs.userNamespaceFault = co_await findUserNamespaceFault(
        children, timer, config.shimPath, kj::str(config.root, "/overlay/snapshots"));
    if (specs.userNamespaceFault.size() == 0) co_return;
    log(LogLevel::WARNING, "pods cannot have user namespaces of their own", "reason",
        specs.userNamespaceFault);
  }

  // ----- what comes from outside

  static ListeningSockets takeSockets(Inheritance& inherited, const Config& config) {
    KJ_IF_MAYBE (handover, inherited.handover) {
      auto left = handover->get();
      return {.cri = takeDescriptor(left.getCriSocket()),
              .admin = takeDescriptor(left.getAdminSocket()),
              .streaming = takeDescriptor(left.getStreamingSocket())};
    }
    return takeListeningSockets(inherited.given, config);
  }

  // What the service manager kept of containers.
  void takeBack(kj::ArrayPtr<GivenDescriptor> given) {
    for (auto& one : given) {
      if (one.name.findFirst('/') != nullptr) {
        held.takeBack(one.name, kj::mv(one.fd));
      } else {
        log(LogLevel::WARNING, "a descriptor from the service manager has a name that says nothing",
            "name", one.name);
      }
    }
  }

  void takeBack(Handover::Reader handover) {
    for (auto one : handover.getHeld())
      held.takeBack(one.getName(), takeDescriptor(one.getNumber()));
    streams.takeOver(handover.getStreaming().getAs<criapi::streaming::StreamHandover>());
    auto relay = takeDescriptor(handover.getRelaySocket());
    if (relay == nullptr) return;
    // It is read when this one serves.
    predecessors.add(serving.addBranch().then([this, relay = kj::mv(relay)]() mutable {
      return criapi::serveSuccessor(io.lowLevelProvider->wrapUnixSocketFd(kj::mv(relay)), server,
                                    VERSION_TEXT);
    }));
  }

  void listen() {
    criListener = socketAt(config.socketPath(), CRI_SOCKET_MODE, sockets.cri);
    adminListener =
        socketAt(kj::str(config.state, "/admin.sock"), ADMIN_SOCKET_MODE, sockets.admin);
    criAcceptor = accept(criListener, [this](auto stream) { server.accept(kj::mv(stream)); });
    adminAcceptor = accept(adminListener, [this](auto stream) { admin.accept(kj::mv(stream)); });
    serves.fulfiller->fulfill();
  }

  static kj::AutoCloseFd socketAt(kj::StringPtr path, mode_t mode,
                                  kj::Maybe<kj::AutoCloseFd>& given) {
    KJ_IF_MAYBE (socket, given) {
      return kj::mv(*socket);
    }
    return listenOnUnixSocket(path, mode);
  }

  kj::Own<Acceptor> accept(int listener, Acceptor::Serve serve) {
    return kj::heap<Acceptor>(*io.lowLevelProvider, io.unixEventPort, timer, listener,
                              kj::mv(serve));
  }

  // ----- one belayd and the next

  // Asked for by an administrator. Up to a point nothing has happened; beyond it this process
  // leaves.
  kj::Promise<kj::String> upgrade(kj::String wanted) {
    if (upgrading) fail(Code::FAILED_PRECONDITION, "belayd is being upgraded already");
    upgrading = true;
    bool decided = false;
    KJ_DEFER(if (!decided) upgrading = false);
    auto program = wanted.size() > 0 ? kj::mv(wanted) : kj::str(invocation.program);
    log(LogLevel::INFO, "asked to become another program", "program", program);
    capnp::MallocMessageBuilder message;
    auto handover = message.initRoot<Handover>();
    describe(handover);
    co_await tryNext(children, timer, program, invocation.arguments, handover);

    decided = true;
    operations.hold();
    co_await settle().exclusiveJoin(timer.afterDelay(SETTLE_LIMIT));
    auto version = kj::newPromiseAndFulfiller<kj::String>();
    nextVersion = kj::mv(version.fulfiller);
    nextProgram->fulfill(kj::mv(program));
    co_return co_await version.promise;
  }

  // Until nothing is in the middle of something.
  kj::Promise<void> settle() {
    co_await operations.whenIdle();
    co_await streams.whenAnswered();
    while (doesAnyThreadRun())
      co_await timer.afterDelay(LOOK_AGAIN);
  }

  void describe(Handover::Builder handover) {
    handover.setVersion(VERSION_TEXT);
    handover.setDatabaseLayout(Database::LAYOUT_VERSION);
    handover.setRoot(config.root);
    handover.setState(config.state);
    handover.setListen(config.listen);
    handover.setCgroupRoot(config.cgroupRoot);
    handover.setStreamingAddress(IpEndpoint::ofSocket(streams.listenerFd()).toString());
    streams.describe(handover.getStreaming().initAs<criapi::streaming::StreamHandover>());
  }

  // This process becomes the program. Its copy, which returns from this with a socket to it, keeps
  // the connections of clients. Everything that would act or listen in both is gone before: the
  // two share their event port until the program runs.
  kj::AutoCloseFd becomeTwo(kj::StringPtr program) {
    log(LogLevel::INFO, "becoming another program", "program", program);
    notifyReloading();
    criAcceptor = nullptr;
    adminAcceptor = nullptr;
    reaping = nullptr;
    runtime.retire();
    children.abandon();

    capnp::MallocMessageBuilder message;
    auto handover = message.initRoot<Handover>();
    describe(handover);
    streams.leave(handover.getStreaming().initAs<criapi::streaming::StreamHandover>());
    int pair[2];
    KJ_SYSCALL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
    kj::AutoCloseFd ours(pair[0]), theirs(pair[1]);
    handover.setLock(locks.root);
    handover.setStateLock(locks.state);
    handover.setCgroupLock(locks.cgroups);
    handover.setCriSocket(criListener);
    handover.setAdminSocket(adminListener);
    handover.setStreamingSocket(streams.listenerFd());
    handover.setRelaySocket(theirs);
    auto all = held.all();
    auto list = handover.initHeld(all.size());
    for (size_t i = 0; i < all.size(); ++i) {
      list[i].setName(all[i].name);
      list[i].setNumber(all[i].fd);
    }

    pid_t copy = fork();
    if (copy != 0) {
      if (copy < 0) {
        log(LogLevel::ERROR, "cannot fork: connections of clients are lost", "reason",
            static_cast<const char*>(strerror(errno)));
        handover.setRelaySocket(-1);
      }
      becomeNext(program, invocation.arguments, handover);
    }
    // The service manager knows the other one; and what is handed over is closed here without a
    // word.
    unsetenv("NOTIFY_SOCKET");
    held.forgetAll();
    streams.closeWhatWasLeft();
    locks = {};
    criListener = nullptr;
    adminListener = nullptr;
    return ours;
  }

  // Resolves when the last client has gone.
  kj::Promise<void> relayCalls(kj::AutoCloseFd socket) {
    criapi::SuccessorRelay relay(io.lowLevelProvider->wrapUnixSocketFd(kj::mv(socket)));
    server.relayTo(relay);
    auto drained = server.drain(CLIENT_PATIENCE);
    KJ_IF_MAYBE (failure, co_await attempt(relay.version().then([this](kj::String version) {
                   nextVersion->fulfill(kj::mv(version));
                 }))) {
      nextVersion->reject(kj::mv(*failure));
    }
    co_await drained;
    co_await predecessors.onEmpty();
    co_await admin.whenIdle().exclusiveJoin(timer.afterDelay(GOODBYE_LIMIT));
    log(LogLevel::INFO, "the former belayd's clients have gone");
  }

  // A predecessor's connection broke: it has ended.
  void taskFailed(kj::Exception&& exception) override {
    if (exception.getType() == kj::Exception::Type::DISCONNECTED) return;
    KJ_LOG(ERROR, "calls of the former belayd's clients are lost", exception);
  }
};

void serve(const Config& config, const Invocation& invocation) {
  Inheritance inherited;
  inherited.given = takeGivenDescriptors();
  inherited.handover = takeHandover();
  setLogLevel(config.logLevel);
  failpoint::readEnvironment("belayd.");
  Locks locks;
  KJ_IF_MAYBE (handover, inherited.handover) {
    requireAcceptable(handover->get(), config);
    locks = {takeDescriptor(handover->get().getLock()),
             takeDescriptor(handover->get().getStateLock()),
             takeDescriptor(handover->get().getCgroupLock())};
  }
  locks.takeFolders(config);
  raiseFileLimit();
  // Containers of a dead shim become our children, and we learn how they end.
  KJ_SYSCALL(prctl(PR_SET_CHILD_SUBREAPER, 1));
  kj::UnixEventPort::captureSignal(SIGTERM);
  kj::UnixEventPort::captureSignal(SIGINT);
  kj::UnixEventPort::captureSignal(SIGCHLD);
  auto io = kj::setupAsyncIo();
  // A busy client must not keep the shims' news from being read.
  io.waitScope.setBusyPollInterval(100);
  auto& timer = io.provider->getTimer();
  Homes homes(config, timer);
  locks.takeCgroups(homes.cgroups);
  homes.sweep(timer).wait(io.waitScope);
  Daemon daemon(io, config, invocation, homes, kj::mv(locks), kj::mv(inherited));
  daemon.run(io.waitScope);
}

void checkHandover(const Config& config) {
  auto handover = KJ_REQUIRE_NONNULL(takeHandover(), "no belayd asks for this");
  requireAcceptable(handover.get(), config);
  fputs(acceptance(VERSION_TEXT).cStr(), stdout);
}

int run(int argc, char** argv) {
  auto command = parseCommandLine(argc, argv, executableFolder(), VERSION_TEXT);
  switch (command.action) {
    case CommandLine::Action::CONFIG_DUMP:
      fputs(dump(command.config).cStr(), stdout);
      break;
    case CommandLine::Action::CONFIG_CHECK:
      puts("the configuration is good");
      break;
    case CommandLine::Action::PRINT:
      fputs(command.text.cStr(), stdout);
      break;
    case CommandLine::Action::SERVE:
      serve(command.config, Invocation::ofThisProcess(argc, argv));
      break;
    case CommandLine::Action::UPGRADE:
      puts(askForUpgrade(command.config.state, command.text).cStr());
      break;
    case CommandLine::Action::CHECK_HANDOVER:
      checkHandover(command.config);
      break;
  }
  return 0;
}

}  // namespace
}  // namespace belay::supervisor

int main(int argc, char** argv) {
  belay::supervisor::LogCapture logCapture;
  int status = 1;
  KJ_IF_MAYBE (failure,
               kj::runCatchingExceptions([&] { status = belay::supervisor::run(argc, argv); })) {
    fprintf(stderr, "belayd: %s\n", belay::snapshot::messageOf(*failure).cStr());
  }
  return status;
}
