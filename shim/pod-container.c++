// Implementation of pod-container.h: a container's life, step by step.
#include "shim/pod-container.h"

#include <capnp/serialize.h>
#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "failpoint/failpoint.h"
#include "shim/exec-cgroup.h"
#include "shim/failure.h"
#include "shim/pidfd-pin.h"
#include "shim/record.h"
#include "shim/stdio/descriptors.h"
#include "shim/sys/clock.h"
#include "shim/sys/pidfd.h"

namespace belay::shim {
namespace {

// After the first process has gone, the rest of its cgroup is killed. Processes stuck in the kernel
// (a hung NFS mount) must not hide the exit for ever.
constexpr kj::Duration EMPTY_PATIENCE = 10 * kj::SECONDS;

// A hung log disk must not hide it either; the log is finished later, if ever.
constexpr kj::Duration LOG_PATIENCE = 2 * kj::SECONDS;

// Exit codes of a container that never ran, as shells have them.
constexpr int EXIT_NOT_EXECUTABLE = 126;
constexpr int EXIT_NOT_FOUND = 127;

}  // namespace

PodContainer::PodContainer(ContainerHost& host, ContainerSpec::Reader spec)
    : host(host),
      context(host.context()),
      id(kj::str(spec.getId())),
      cgroupPath(kj::str(spec.getCgroupPath())),
      logPath(kj::str(spec.getLogPath())),
      stopSignal(spec.getStopSignal() == 0 ? SIGTERM : spec.getStopSignal()),
      exited(nullptr),
      tasks(*this) {
  auto paf = kj::newPromiseAndFulfiller<void>();
  exitedFulfiller = kj::mv(paf.fulfiller);
  exited = paf.promise.fork();
}

PodContainer::~PodContainer() noexcept(false) {}

ContainerStdio::Options PodContainer::stdioOptions(ContainerSpec::Reader spec) {
  return {.logPath = spec.getLogPath(),
          .logMaxLineBytes = spec.getLogMaxLineBytes(),
          .wantsInput = spec.getStdin(),
          .terminal = spec.getProcess().getTerminal(),
          .inputOnce = spec.getStdinOnce()};
}

// --- creation

kj::Promise<kj::Maybe<FailureValue>> PodContainer::prepare(ContainerSpec::Reader spec) {
  makeDirectory();
  CO_FAILPOINT(context.engine.timer, "shim.create-container/after-folder");
  capnp::MallocMessageBuilder message;
  message.setRoot(spec);
  writeRecord(dirFd, SPEC_FILE, message);

  int targetPidfd = -1;
  if (spec.getPid() == NamespaceMode::TARGET) {
    KJ_IF_MAYBE (target, host.pidfdOf(spec.getTargetContainerId())) {
      targetPidfd = *target;
    } else {
      co_return plainFailure(Failure::Code::FAILED_PRECONDITION, "share the process namespace of",
                             spec.getTargetContainerId(), "that container does not run");
    }
  }

  bool terminal = spec.getProcess().getTerminal();
  stdio = kj::heap<ContainerStdio>(context.engine.eventPort, context.engine.timer, context.disk,
                                   dirFd, stdioOptions(spec));
  auto ends = stdio->openContainerEnds();
  CO_FAILPOINT(context.engine.timer, "shim.create-container/after-fifos");
  auto failed = makeCgroup(spec);
  CO_FAILPOINT(context.engine.timer, "shim.create-container/after-cgroup");
  if (failed != nullptr) co_return kj::mv(failed);

  // The child may die before its pid is known here.
  auto hold = kj::heap<Reaper::Hold>(context.reaper);
  auto result = co_await prepareContainer(
      context.engine, spec, host.namespaces(), *cgroup,
      {kj::mv(ends.in), kj::mv(ends.out), kj::mv(ends.err), terminal}, targetPidfd);
  if (result.is<FailureValue>()) co_return kj::mv(result.get<FailureValue>());
  auto& child = prepared.emplace(kj::mv(result.get<Prepared>()));
  user = kj::mv(child.user);
  alive = true;
  tasks.add(watchExit(context.reaper.onExit(child.pid)));
  hold = nullptr;
  CO_FAILPOINT(context.engine.timer, "shim.create-container/after-child");

  if (!terminal) {
    auto& ids = host.namespaces().ids;
    stdio->giveTo(ids.toHost(user.uid), ids.toHost(user.gid));
  }
  pinPidfd(child.pidfd, dirFd, PIDFD_FILE);
  CO_FAILPOINT(context.engine.timer, "shim.create-container/after-pin");
  auto failure = co_await stdio->start(kj::mv(child.ptyMaster));
  if (failure != nullptr) co_return kj::mv(failure);

  CO_FAILPOINT(context.engine.timer, "shim.create-container/before-record");
  createdAtNs = realtimeNs();
  host.containerCreated(*this);
  CO_FAILPOINT(context.engine.timer, "shim.create-container/after-record");
  co_return nullptr;
}

void PodContainer::makeDirectory() {
  KJ_SYSCALL(mkdirat(host.podDirFd(), id.cStr(), 0700), id);
  openDirectory();
}

void PodContainer::openDirectory() {
  int fd;
  KJ_SYSCALL(fd = openat(host.podDirFd(), id.cStr(), O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW), id);
  dirFd = kj::AutoCloseFd(fd);
}

kj::Maybe<FailureValue> PodContainer::makeCgroup(ContainerSpec::Reader spec) {
  cgroup = Cgroup::create(context.engine.cgroups, cgroupPath);
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() {
                 cgroup->limit(spec.getResources());
                 cgroup->limitDevices(spec.getDevices(), spec.getAllDevices());
               })) {
    // The kernel refuses a value: a CPU that is not there, a limit below what is in use.
    return failureOf("set the limits of cgroup"_kj, cgroupPath, *exception,
                     Failure::Code::INVALID_ARGUMENT);
  }
  return nullptr;
}

// --- start and exit

kj::Promise<kj::Maybe<FailureValue>> PodContainer::start() {
  if (!alive && startFailure == nullptr) {
    co_return plainFailure(Failure::Code::FAILED_PRECONDITION, "start container", id,
                           "it has exited");
  }
  if (starting == nullptr) beginStart();
  co_await KJ_ASSERT_NONNULL(starting).addBranch();
  KJ_IF_MAYBE (failure, startFailure) {
    co_await exited.addBranch();
    co_return copyFailure(*failure);
  }
  co_return nullptr;
}

void PodContainer::beginStart() {
  starting = release()
                 .catch_([this](kj::Exception&& exception) {
                   // Half a start is none: what may run already is ended as one that failed.
                   startFailure = failureOf("start container"_kj, id, exception);
                   startedAtNs = 0;
                   cgroup->kill();
                 })
                 .fork();
}

// Opens the gate; the result is in startFailure or in the stage.
kj::Promise<void> PodContainer::release() {
  Work work(context.work);
  startedAtNs = realtimeNs();
  auto& child = KJ_ASSERT_NONNULL(prepared);
  CO_FAILPOINT(context.engine.timer, "shim.start-container/before-gate");
  auto failure = co_await releaseGate(context.engine, child);
  CO_FAILPOINT(context.engine.timer, "shim.start-container/after-gate");
  child.gate = nullptr;
  if (failure != nullptr) {
    startFailure = kj::mv(failure);
    startedAtNs = 0;
    co_return;
  }
  stage = Stage::RUNNING;
  host.containerChanged(*this);
  CO_FAILPOINT(context.engine.timer, "shim.start-container/after-record");
  host.descriptorReleased(*this, "gate"_kj);
}

// From the first process's death to the exit that everybody is told. The order is the contract:
// what is left is killed, output is taken, the log is finished, the record is written, then it is
// told.
kj::Promise<void> PodContainer::watchExit(kj::Promise<ExitStatus> death) {
  exit.status = co_await death;
  Work work(context.work);
  alive = false;
  KJ_IF_MAYBE (start, starting) co_await start->addBranch();

  usage = nullptr;

  // Whatever goes wrong with the rest, the exit is told.
  co_await endCgroup().catch_([this](kj::Exception&& exception) {
    KJ_LOG(ERROR, "cannot end the processes a container left", id, exception);
  });
  co_await stdio->finish()
      .exclusiveJoin(context.engine.timer.afterDelay(LOG_PATIENCE))
      .catch_([this](kj::Exception&& exception) {
        KJ_LOG(ERROR, "cannot finish a container's log", id, exception);
      });

  KJ_IF_MAYBE (failure, startFailure) {
    exit.status.code =
        failure->code == Failure::Code::NOT_FOUND ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE;
    exit.status.signal = 0;
    exit.reason = kj::str("StartError");
    exit.message = kj::str(failure->message);
  }
  if (!exit.status.known) {
    exit.reason = kj::str("Unknown");
    exit.message = kj::str("its shim died, and nobody could learn how it ended");
  }
  stage = Stage::EXITED;
  CO_FAILPOINT(context.engine.timer, "shim.exit/before-record");
  if (createdAtNs != 0) host.containerChanged(*this);
  CO_FAILPOINT(context.engine.timer, "shim.exit/after-telling");
  exitedFulfiller->fulfill();
}

kj::Promise<void> PodContainer::endCgroup() {
  CO_FAILPOINT(context.engine.timer, "shim.exit/after-reaping");
  cgroup->kill();
  co_await cgroup->whenEmpty(context.engine)
      .exclusiveJoin(context.engine.timer.afterDelay(EMPTY_PATIENCE));
  exit.oomKilled = !exit.status.succeeded() && cgroup->oomKills() > 0;
  CO_FAILPOINT(context.engine.timer, "shim.exit/after-cgroup");
}

kj::Promise<kj::Maybe<FailureValue>> PodContainer::stop(int requested, kj::Duration grace) {
  KJ_IF_MAYBE (start, starting) co_await start->addBranch();
  if (stage != Stage::RUNNING) co_return nullptr;
  if (grace > 0 * kj::SECONDS) {
    int number = requested == 0 ? stopSignal : requested;
    // Repeated stops do not repeat the signal: many programs take the second one as "at once".
    uint64_t bit = uint64_t(1) << (number & 63);
    if (!(stopSignalsSent & bit)) {
      stopSignalsSent |= bit;
      // A successor is not to send it again.
      host.containerChanged(*this);
      auto failure = signal(number);
      if (failure != nullptr && stage == Stage::RUNNING && alive) co_return kj::mv(failure);
    }
    bool patienceEnded = false;
    co_await exited.addBranch().exclusiveJoin(
        context.engine.timer.afterDelay(grace).then([&patienceEnded]() { patienceEnded = true; }));
    if (!patienceEnded) co_return nullptr;
  }
  cgroup->kill();
  co_await exited.addBranch();
  co_return nullptr;
}

kj::Maybe<FailureValue> PodContainer::signal(int number) {
  KJ_IF_MAYBE (failure, refuseUnlessRunning("send a signal to container")) return kj::mv(*failure);
  if (number < 1 || number > SIGRTMAX) {
    return plainFailure(Failure::Code::INVALID_ARGUMENT, "send a signal to container", id,
                        kj::str("there is no signal ", number));
  }
  if (sys::sendSignal(KJ_ASSERT_NONNULL(prepared).pidfd, number) < 0 && errno != ESRCH) {
    return systemFailure("send a signal to container", id, errno);
  }
  return nullptr;
}

// --- while it runs

kj::Promise<kj::Maybe<FailureValue>> PodContainer::reopenLog() {
  KJ_IF_MAYBE (failure, refuseUnlessRunning("reopen the log of container")) {
    return kj::Maybe<FailureValue>(kj::mv(*failure));
  }
  return stdio->reopenLog();
}

kj::Maybe<FailureValue> PodContainer::updateResources(Resources::Reader resources,
                                                      kj::Maybe<int32_t> oomScoreAdj) {
  constexpr auto STEP = "change the limits of container"_kj;
  if (removed) {
    return plainFailure(Failure::Code::NOT_FOUND, STEP, id, "it has been removed");
  }
  if (!alive) {
    return plainFailure(Failure::Code::FAILED_PRECONDITION, STEP, id, "it has exited");
  }
  KJ_IF_MAYBE (exception,
               kj::runCatchingExceptions([&]() { cgroup->changeLimits(resources, oomScoreAdj); })) {
    return failureOf(STEP, id, *exception, Failure::Code::INVALID_ARGUMENT);
  }
  return nullptr;
}

kj::Maybe<FailureValue> PodContainer::refuseUnlessRunning(kj::StringPtr step) const {
  if (removed) {
    return plainFailure(Failure::Code::NOT_FOUND, step, id, "it has been removed");
  }
  if (stage == Stage::RUNNING && alive) return nullptr;
  return plainFailure(Failure::Code::FAILED_PRECONDITION, step, id,
                      stage == Stage::CREATED ? "it has not been started"_kj : "it has exited"_kj);
}

// --- removal

kj::Promise<void> PodContainer::remove() {
  if (removing == nullptr || removalFailed) {
    removalFailed = false;
    removing = clearAway()
                   .catch_([this](kj::Exception&& exception) {
                     removalFailed = true;
                     kj::throwFatalException(kj::mv(exception));
                   })
                   .fork();
  }
  return KJ_ASSERT_NONNULL(removing).addBranch();
}

// Also for a container whose creation failed or was cancelled at any step.
kj::Promise<void> PodContainer::clearAway() {
  if (cgroup.get() != nullptr) {
    cgroup->kill();
    if (prepared != nullptr) co_await exited.addBranch();
    co_await cgroup->whenEmpty(context.engine);
    cgroup->remove();
  }
  CO_FAILPOINT(context.engine.timer, "shim.remove-container/after-cgroup");
  removed = true;
  stdio = nullptr;  // before the directory that it uses
  if (dirFd.get() >= 0) {
    unpinPidfd(dirFd, PIDFD_FILE);
    ContainerStdio::removeFiles(dirFd);
    CO_FAILPOINT(context.engine.timer, "shim.remove-container/after-files");
    removeFile(dirFd, SPEC_FILE);
    KJ_SYSCALL(unlinkat(host.podDirFd(), id.cStr(), AT_REMOVEDIR), id);
    dirFd = nullptr;
  }
}

// --- what is told

kj::Maybe<int> PodContainer::livePidfd() const {
  if (stage != Stage::RUNNING || !alive) return nullptr;
  return KJ_ASSERT_NONNULL(prepared).pidfd.get();
}

void PodContainer::fillState(ContainerState::Builder state) const {
  state.setId(id);
  state.setStage(stage);
  state.setCreatedAtNs(createdAtNs);
  state.setStartedAtNs(startedAtNs);
  state.setLogPath(logPath);
  state.setStopSignalsSent(stopSignalsSent);
  if (stage == Stage::EXITED) fillExit(state.initExit());
  KJ_IF_MAYBE (child, prepared) {
    if (alive) state.setPid(child->pid);
  }
  auto resolved = state.initUser();
  resolved.setUid(user.uid);
  resolved.setGid(user.gid);
  auto groups = resolved.initGroups(user.groups.size());
  for (uint i : kj::indices(user.groups))
    groups.set(i, user.groups[i]);
}

void PodContainer::fillUsage(ContainerUsage::Builder builder) {
  if (usage == nullptr) usage.emplace(context.engine.cgroups, cgroupPath, startedAtNs);
  builder.setId(id);
  KJ_ASSERT_NONNULL(usage).read(builder.initCgroup());
}

void PodContainer::fillExit(Exit::Builder builder) const {
  builder.setCode(exit.status.code);
  builder.setSignal(exit.status.signal);
  builder.setOomKilled(exit.oomKilled);
  builder.setFinishedAtNs(exit.status.finishedAtNs);
  builder.setKnown(exit.status.known);
  builder.setReason(exit.reason);
  builder.setMessage(exit.message);
}

kj::Vector<PodContainer::Descriptor> PodContainer::descriptors() const {
  kj::Vector<Descriptor> result;
  if (stdio.get() == nullptr || prepared == nullptr) return result;
  auto add = [&](kj::StringPtr name, int fd) {
    if (fd >= 0) result.add(Descriptor{kj::str(id, '/', name), fd});
  };
  for (auto& descriptor : stdio->descriptors())
    add(descriptor.name, descriptor.fd);
  auto& child = KJ_ASSERT_NONNULL(prepared);
  add("pidfd", child.pidfd);
  add("gate", child.gate);
  return result;
}

void PodContainer::taskFailed(kj::Exception&& exception) {
  KJ_LOG(ERROR, "a container's background work failed", id, exception);
}

}  // namespace belay::shim
