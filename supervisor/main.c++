// belayd: reads its configuration, meets the pods that live already, and serves the CRI on one
// thread until it is told to stop. Containers and shims outlive it.
#include <errno.h>
#include <fcntl.h>
#include <kj/async-io.h>
#include <kj/async-unix.h>
#include <kj/debug.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "criapi/failure-status.h"
#include "criapi/grpc/server.h"
#include "criapi/service.h"
#include "criapi/streaming/stream-server.h"
#include "failpoint/failpoint.h"
#include "snapshot/failure.h"
#include "snapshot/helpers.h"
#include "snapshot/overlay-snapshotter.h"
#include "supervisor/acceptor.h"
#include "supervisor/admin-server.h"
#include "supervisor/config/command-line.h"
#include "supervisor/helper-home.h"
#include "supervisor/listening-sockets.h"
#include "supervisor/log.h"
#include "supervisor/runtime-impl.h"
#include "supervisor/service-manager.h"
#include "supervisor/spec/apparmor.h"
#include "supervisor/unix-socket.h"
#include "supervisor/user-namespace-fault.h"
#include "supervisor/version.h"

namespace belay::supervisor {
namespace {

using snapshot::Code;
using snapshot::fail;

// How long calls in progress may go on after SIGTERM, while nobody serves new ones. What is not
// done by then is found half-made by the next belayd, and finished or undone there.
constexpr kj::Duration DRAIN_LIMIT = 3 * kj::SECONDS;

// For the helpers of a killed belayd to die. It takes milliseconds, if anything is left at all.
constexpr kj::Duration SWEEP_LIMIT = 2 * kj::SECONDS;

constexpr mode_t CRI_SOCKET_MODE = 0660;
constexpr mode_t ADMIN_SOCKET_MODE = 0600;

void makeFolder(kj::StringPtr path) {
  for (size_t end = 1; end <= path.size(); ++end) {
    if (end < path.size() && path[end] != '/') continue;
    auto name = kj::heapString(path.slice(0, end));
    KJ_SYSCALL_HANDLE_ERRORS(mkdir(name.cStr(), end == path.size() ? 0700 : 0755)) {
      case EEXIST:
        break;
      default:
        fail(Code::FAILED_PRECONDITION, "cannot make folder ", name, ": ", strerror(error));
    }
  }
}

// Held until this process ends: database and store have one user.
kj::AutoCloseFd lockRoot(kj::StringPtr root) {
  makeFolder(root);
  auto path = kj::str(root, "/belayd.lock");
  int fd;
  KJ_SYSCALL(fd = open(path.cStr(), O_RDWR | O_CREAT | O_CLOEXEC, 0600), path);
  kj::AutoCloseFd file(fd);
  KJ_SYSCALL_HANDLE_ERRORS(flock(fd, LOCK_EX | LOCK_NB)) {
    case EWOULDBLOCK:
      fail(Code::FAILED_PRECONDITION, "another belayd uses ", root,
           " (it holds belayd.lock there): stop it, or give another --root");
    default:
      KJ_FAIL_SYSCALL("flock", error, path);
  }
  return file;
}

// A node full of pods needs some ten descriptors for each container.
void raiseFileLimit() {
  rlimit limit;
  KJ_SYSCALL(getrlimit(RLIMIT_NOFILE, &limit));
  limit.rlim_cur = limit.rlim_max;
  KJ_SYSCALL(setrlimit(RLIMIT_NOFILE, &limit));
}

// The names that image indexes use (Go's GOARCH) for what uname(2) says.
kj::String imageArchitecture() {
  utsname names;
  KJ_SYSCALL(uname(&names));
  kj::StringPtr machine = names.machine;
  if (machine == "x86_64") return kj::str("amd64");
  if (machine == "aarch64") return kj::str("arm64");
  return kj::str(machine);
}

void logCall(const criapi::grpc::CallReport& report) {
  bool ok = report.code == criapi::grpc::Code::OK;
  log(ok ? LogLevel::DEBUG : LogLevel::INFO, "call", "path", report.path, "code",
      criapi::grpc::nameOf(report.code), "us", report.elapsed / kj::MICROSECONDS, "message",
      report.message);
}

// Cgroups of what belayd starts.
struct Homes {
  Homes(const Config& config, kj::Timer& timer)
      : cgroups(config.cgroupRoot),
        plugins(cgroups, kj::str(config.cgroupRoot, "/cni"), timer),
        pullers(cgroups, kj::str(config.cgroupRoot, "/pull"), timer) {}

  Cgroups cgroups;
  HelperHome plugins;
  HelperHome pullers;

  // Before the store is looked at. What hangs in the kernel holds up only what needs it to be gone.
  kj::Promise<void> sweep(kj::Timer& timer) {
    auto free = plugins.whenFree().then([this] { return pullers.whenFree(); });
    return free.exclusiveJoin(timer.afterDelay(SWEEP_LIMIT))
        .catch_([](kj::Exception&& exception) {
          log(LogLevel::ERROR, "a helper of a former belayd is still there", "reason",
              snapshot::messageOf(exception));
        })
        .then([this] {
          plugins.open();
          pullers.open();
        });
  }
};

// Everything that lives as long as the daemon, in the order it is made.
class Daemon {
 public:
  // `given` came from the service manager. The rest outlives this object.
  Daemon(kj::AsyncIoContext& io, const Config& config, Homes& homes,
         kj::Vector<GivenDescriptor> given)
      : io(io),
        config(config),
        timer(io.provider->getTimer()),
        sockets(takeListeningSockets(given, config)),
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
        service(runtime, streams, VERSION_TEXT) {
    KJ_IF_MAYBE (present, apparmor) {
      specs.apparmor = present->get();
    }
    if (config.cgroupDriver == CgroupDriver::SYSTEMD) scopes.requireSystemd();
    takeBack(given.asPtr());
  }
  KJ_DISALLOW_COPY_AND_MOVE(Daemon);

  void run(kj::WaitScope& waitScope) {
    auto stop =
        io.unixEventPort.onSignal(SIGTERM).exclusiveJoin(io.unixEventPort.onSignal(SIGINT)).fork();
    auto reaping = children
                       .reapOrphans([this](pid_t pid, snapshot::ExitStatus status) {
                         inventory.orphanExited(pid, status);
                       })
                       .eagerlyEvaluate([](kj::Exception&& exception) {
                         KJ_LOG(ERROR, "orphans are not reaped any more", exception);
                       });
    auto profile = loadApparmorProfile();
    auto userNamespaces = tryUserNamespaces();
    runtime.reconcile().wait(waitScope);
    held.releaseStrangers([this](kj::StringPtr id) { return inventory.knowsContainer(id); });
    profile.wait(waitScope);
    userNamespaces.wait(waitScope);

    criapi::grpc::Server server(
        timer, {.statusOf = &criapi::statusOfFailure,
                .onCallEnd = kj::Function<void(const criapi::grpc::CallReport&)>(&logCall)});
    service.registerOn(server);
    AdminServer admin(runtime);
    auto criListener = socketAt(config.socketPath(), CRI_SOCKET_MODE, sockets.cri);
    auto adminListener =
        socketAt(kj::str(config.state, "/admin.sock"), ADMIN_SOCKET_MODE, sockets.admin);
    auto criAcceptor =
        accept(criListener, [&server](auto stream) { server.accept(kj::mv(stream)); });
    auto adminAcceptor =
        accept(adminListener, [&admin](auto stream) { admin.accept(kj::mv(stream)); });

    log(LogLevel::INFO, "serving", "listen", config.listen, "streaming", streams.baseUrl(),
        "version", VERSION_TEXT, "root", config.root);
    notifyServiceManager("READY=1");
    stop.addBranch().wait(waitScope);

    log(LogLevel::INFO, "told to stop; pods live on");
    notifyServiceManager("STOPPING=1");
    server.drain().exclusiveJoin(timer.afterDelay(DRAIN_LIMIT)).wait(waitScope);
  }

 private:
  kj::AsyncIoContext& io;
  const Config& config;
  kj::Timer& timer;
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

  static snapshot::PullerOptions pullerOptions(const Config& config) {
    snapshot::PullerOptions options;
    options.registryConfigFolders = kj::arr(kj::str(config.registryConfig));
    options.architecture = imageArchitecture();
    options.stallTimeoutMs = config.pullStallTimeout / kj::MILLISECONDS;
    return options;
  }

  static CniOptions cniOptions(const Config& config) {
    CniOptions options;
    options.confDir = kj::str(config.cniConfDir);
    options.binDirs = KJ_MAP(folder, config.cniBinDirs) {
      return kj::str(folder);
    };
    options.pluginTimeout = config.cniPluginTimeout;
    options.marks = kj::str(config.root, "/attachments");
    return options;
  }

  // While the pods are met. Without it containers that ask for the default profile are refused.
  kj::Promise<void> loadApparmorProfile() {
    KJ_IF_MAYBE (present, apparmor) {
      return (*present)->loadDefault(children, timer).catch_([](kj::Exception&& exception) {
        log(LogLevel::ERROR, "the default AppArmor profile is not loaded", "profile",
            AppArmor::DEFAULT_PROFILE, "reason", snapshot::messageOf(exception));
      });
    }
    return kj::READY_NOW;
  }

  // While the pods are met, too.
  kj::Promise<void> tryUserNamespaces() {
    specs.userNamespaceFault = co_await findUserNamespaceFault(
        children, timer, config.shimPath, kj::str(config.root, "/overlay/snapshots"));
    if (specs.userNamespaceFault.size() == 0) co_return;
    log(LogLevel::WARNING, "pods cannot have user namespaces of their own", "reason",
        specs.userNamespaceFault);
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
};

void serve(const Config& config) {
  auto given = takeGivenDescriptors();
  setLogLevel(config.logLevel);
  failpoint::readEnvironment("belayd.");
  auto lock = lockRoot(config.root);
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
  homes.sweep(timer).wait(io.waitScope);
  Daemon daemon(io, config, homes, kj::mv(given));
  daemon.run(io.waitScope);
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
      serve(command.config);
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
