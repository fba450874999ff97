// See admin-server.h.
#include "supervisor/admin-server.h"

#include <capnp/rpc-twoparty.h>
#include <fcntl.h>
#include <kj/debug.h>

#include "failpoint/failpoint.h"
#include "snapshot/failure.h"
#include "supervisor/shim-failure.h"
#include "supervisor/version.h"

namespace belay::supervisor {

namespace {

// An image's archive is the only descriptor that comes in; an exec's two go out.
constexpr uint MAX_FDS_PER_MESSAGE = 4;

// How the names of belayd's own begin.
constexpr kj::StringPtr FAILPOINTS = "belayd."_kj;

// Keeps a descriptor open until it has been sent.
class FileServer final : public File::Server {
 public:
  explicit FileServer(kj::AutoCloseFd fd) : fd(kj::mv(fd)) {}
  kj::Maybe<int> getFd() override { return fd.get(); }

 private:
  kj::AutoCloseFd fd;
};

ContainerSummary::State stateOf(ContainerView::State state) {
  switch (state) {
    case ContainerView::State::CREATED:
      return ContainerSummary::State::CREATED;
    case ContainerView::State::RUNNING:
      return ContainerSummary::State::RUNNING;
    case ContainerView::State::EXITED:
      return ContainerSummary::State::EXITED;
    case ContainerView::State::UNKNOWN:
      break;
  }
  return ContainerSummary::State::UNKNOWN;
}

void setFailpoint(kj::StringPtr name, kj::StringPtr action) {
  bool own = name.startsWith(FAILPOINTS);
  KJ_IF_MAYBE (fault,
               own ? failpoint::set(name, action) : failpoint::setForChildren(name, action)) {
    snapshot::fail(snapshot::Code::INVALID_ARGUMENT, *fault);
  }
}

class Service final : public Admin::Server {
 public:
  Service(RuntimeImpl& runtime, AdminServer::Upgrade becomeNext)
      : runtime(runtime), becomeNext(kj::mv(becomeNext)) {}

  kj::Promise<void> version(VersionContext context) override {
    context.getResults().setVersion(VERSION_TEXT);
    return kj::READY_NOW;
  }

  kj::Promise<void> upgrade(UpgradeContext context) override {
    auto after = co_await becomeNext(kj::str(context.getParams().getProgram()));
    auto results = context.getResults();
    results.setBefore(VERSION_TEXT);
    results.setAfter(after);
  }

  kj::Promise<void> operations(OperationsContext context) override {
    auto running = runtime.operations().list();
    auto list = context.getResults().initOperations(running.size());
    for (size_t i = 0; i < running.size(); ++i) {
      list[i].setName(running[i].name);
      list[i].setStage(running[i].stage);
      list[i].setRunningMs(running[i].running / kj::MILLISECONDS);
      list[i].setInStageMs(running[i].inStage / kj::MILLISECONDS);
    }
    return kj::READY_NOW;
  }

  kj::Promise<void> loadImage(LoadImageContext context) override {
    auto tag = kj::str(context.getParams().getTag());
    auto received = co_await context.getParams().getArchive().getFd();
    KJ_IF_MAYBE (fd, received) {
      int copy;
      KJ_SYSCALL(copy = fcntl(*fd, F_DUPFD_CLOEXEC, 0));
      auto id = co_await runtime.imageManager().load(kj::AutoCloseFd(copy), kj::mv(tag));
      context.getResults().setId(id);
    } else {
      snapshot::fail(snapshot::Code::INVALID_ARGUMENT, "archive: it is no file descriptor");
    }
  }

  kj::Promise<void> pullImage(PullImageContext context) override {
    auto reference = kj::str(context.getParams().getReference());
    context.getResults().setId(co_await runtime.pullImage(kj::mv(reference), {}));
  }

  kj::Promise<void> images(ImagesContext context) override {
    auto all = runtime.images();
    auto list = context.getResults().initImages(all.size());
    for (size_t i = 0; i < all.size(); ++i)
      list.setWithCaveats(i, all[i].get());
    return kj::READY_NOW;
  }

  kj::Promise<void> removeImage(RemoveImageContext context) override {
    return runtime.removeImage(kj::str(context.getParams().getReference()));
  }

  kj::Promise<void> runPod(RunPodContext context) override {
    auto params = context.getParams();
    context.getResults().setId(co_await runtime.runPodSandbox(Owned<PodConfig>(params.getConfig()),
                                                              kj::str(params.getHandler())));
  }

  kj::Promise<void> stopPod(StopPodContext context) override {
    return runtime.stopPodSandbox(kj::str(context.getParams().getId()));
  }

  kj::Promise<void> removePod(RemovePodContext context) override {
    return runtime.removePodSandbox(kj::str(context.getParams().getId()));
  }

  kj::Promise<void> pods(PodsContext context) override {
    auto all = runtime.podSandboxes();
    auto list = context.getResults().initPods(all.size());
    for (size_t i = 0; i < all.size(); ++i) {
      list[i].setRecord(all[i].record.get());
      list[i].setReady(all[i].ready);
    }
    return kj::READY_NOW;
  }

  kj::Promise<void> createContainer(CreateContainerContext context) override {
    auto params = context.getParams();
    auto podId = kj::str(params.getPodId());
    auto podConfig = Owned<PodConfig>(runtime.podSandbox(podId).record.get().getConfig());
    context.getResults().setId(co_await runtime.createContainer(
        kj::mv(podId), Owned<ContainerConfig>(params.getConfig()), kj::mv(podConfig)));
  }

  kj::Promise<void> startContainer(StartContainerContext context) override {
    return runtime.startContainer(kj::str(context.getParams().getId()));
  }

  kj::Promise<void> stopContainer(StopContainerContext context) override {
    auto params = context.getParams();
    return runtime.stopContainer(kj::str(params.getId()), params.getTimeoutSeconds());
  }

  kj::Promise<void> removeContainer(RemoveContainerContext context) override {
    return runtime.removeContainer(kj::str(context.getParams().getId()));
  }

  kj::Promise<void> containers(ContainersContext context) override {
    auto all = runtime.containers();
    auto list = context.getResults().initContainers(all.size());
    for (size_t i = 0; i < all.size(); ++i) {
      list[i].setRecord(all[i].record.get());
      list[i].setState(stateOf(all[i].state));
    }
    return kj::READY_NOW;
  }

  kj::Promise<void> exec(ExecContext context) override {
    auto params = context.getParams();
    auto command = KJ_MAP(word, params.getCommand()) {
      return kj::str(word);
    };
    auto result = co_await runtime.execSync(kj::str(params.getId()), kj::mv(command),
                                            params.getTimeoutSeconds());
    auto results = context.getResults();
    results.setExitCode(result.exitCode);
    results.setOutput(kj::heap<FileServer>(kj::mv(result.output)));
    results.setErrors(kj::heap<FileServer>(kj::mv(result.errors)));
  }

  kj::Promise<void> upgradeShims(UpgradeShimsContext context) override {
    kj::Vector<kj::Own<Pod>> pods;
    for (auto id : context.getParams().getPodIds())
      pods.add(runtime.inventory().getPod(id));
    if (pods.size() == 0) {
      for (auto& pod : runtime.inventory().allPods()) {
        if (pod->stage() == PodStage::READY) pods.add(kj::mv(pod));
      }
    }
    auto list = context.getResults().initResults(pods.size());
    kj::Vector<kj::Promise<void>> upgrades;
    for (auto i : kj::indices(pods)) {
      list[i].setPodId(pods[i]->id());
      upgrades.add(upgradeShim(kj::mv(pods[i]), list[i]));
    }
    return kj::joinPromises(upgrades.releaseAsArray());
  }

  kj::Promise<void> debug(DebugContext context) override {
    auto params = context.getParams();
    if (params.getPodId().size() > 0) {
      auto shim = co_await runtime.shimOf(params.getPodId());
      auto request = shim.debugRequest();
      request.setFailpoint(params.getFailpoint());
      request.setAction(params.getAction());
      auto answer = co_await request.send();
      requireDone(answer.getOutcome());
      context.getResults().setFailpoints(answer.getFailpoints());
      co_return;
    }
    if (params.getFailpoint().size() > 0) setFailpoint(params.getFailpoint(), params.getAction());
    auto points = failpoint::list();
    auto list = context.getResults().initFailpoints(points.size());
    for (size_t i = 0; i < points.size(); ++i) {
      list[i].setName(points[i].name);
      list[i].setAction(points[i].action);
      list[i].setPasses(points[i].passes);
    }
  }

 private:
  RuntimeImpl& runtime;
  AdminServer::Upgrade becomeNext;

  kj::Promise<void> upgradeShim(kj::Own<Pod> pod, UpgradedShim::Builder result) {
    return runtime.podManager()
        .upgradeShim(kj::mv(pod))
        .then([result](uint32_t generation) mutable { result.setGeneration(generation); },
              [result](kj::Exception&& exception) mutable {
                result.setFailure(snapshot::messageOf(exception));
              });
  }
};

}  // namespace

AdminServer::AdminServer(RuntimeImpl& runtime, Upgrade upgrade)
    : admin(kj::heap<Service>(runtime, kj::mv(upgrade))), tasks(*this) {}

kj::Promise<void> AdminServer::serve(kj::Own<kj::AsyncCapabilityStream> stream) {
  capnp::TwoPartyVatNetwork network(*stream, MAX_FDS_PER_MESSAGE,
                                    capnp::rpc::twoparty::Side::SERVER);
  auto system = capnp::makeRpcServer(network, admin);
  co_await network.onDisconnect();
}

void AdminServer::taskFailed(kj::Exception&& exception) {
  if (exception.getType() == kj::Exception::Type::DISCONNECTED) return;
  KJ_LOG(ERROR, "serving belayctl failed", exception);
}

}  // namespace belay::supervisor
