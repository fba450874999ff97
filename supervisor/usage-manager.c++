// See usage-manager.h.
#include "supervisor/usage-manager.h"

#include "supervisor/attempt.h"
#include "supervisor/log.h"
#include "supervisor/shim-failure.h"

namespace belay::supervisor {

kj::Promise<UsageManager::Answer> UsageManager::ask(kj::Own<Pod> pod, bool wholePod) {
  auto asking = pod->client().then([wholePod](shim::Shim::Client shim) {
    auto request = shim.usageRequest();
    request.setPod(wholePod);
    return request.send().dropPipeline();
  });
  auto answering = orLate(parts.timer, LIMIT, "the shim's reading of its cgroups", kj::mv(asking));
  return answering.then(
      [](auto answer) -> Answer {
        // Being made, or removed.
        if (answer.getOutcome().isFailed()) return nullptr;
        return kj::mv(answer);
      },
      [pod = kj::mv(pod)](kj::Exception&& failure) -> Answer {
        log(LogLevel::WARNING, "a pod's usage is not known", "pod", pod->id(), "reason",
            snapshot::messageOf(failure));
        return nullptr;
      });
}

kj::Promise<kj::Array<UsageManager::Answer>> UsageManager::askAll(kj::ArrayPtr<kj::Own<Pod>> pods,
                                                                  bool wholePods) {
  auto asking = kj::heapArrayBuilder<kj::Promise<Answer>>(pods.size());
  for (auto& pod : pods)
    asking.add(ask(kj::addRef(*pod), wholePods));
  return kj::joinPromises(asking.finish());
}

kj::Maybe<ContainerUsageView> UsageManager::viewOf(const Pod& pod,
                                                   shim::ContainerUsage::Reader usage) {
  KJ_IF_MAYBE (container, parts.inventory.findContainer(usage.getId())) {
    if (&(*container)->pod() != &pod) return nullptr;
    auto& layer = (*container)->layer;
    ContainerUsageView view{parts.inventory.view(**container).record,
                            Owned<shim::CgroupUsage>(usage.getCgroup()), nullptr};
    if (layer.timestampNs != 0) {
      view.layer = FilesystemUsage{layer.timestampNs, kj::str(parts.store.path()), layer.bytes,
                                   layer.inodes};
    }
    return kj::mv(view);
  }
  return nullptr;
}

kj::Promise<kj::Array<ContainerUsageView>> UsageManager::ofContainers(
    kj::Array<ContainerView> wanted) {
  kj::HashMap<kj::StringPtr, kj::Own<Container>> running;
  kj::HashMap<kj::StringPtr, kj::Own<Pod>> pods;
  for (auto& view : wanted) {
    if (view.state != ContainerView::State::RUNNING) continue;
    auto container = parts.inventory.getContainer(view.record.get().getId());
    auto& pod = container->pod();
    pods.upsert(pod.id(), kj::addRef(pod), [](auto&, auto&&) {});
    running.insert(container->id(), kj::mv(container));
  }
  auto containers = KJ_MAP(entry, running) {
    return kj::addRef(*entry.value);
  };
  auto asked = KJ_MAP(entry, pods) {
    return kj::addRef(*entry.value);
  };
  auto asking = askAll(asked, false);
  co_await layers.refresh(containers);
  auto answers = co_await asking;

  kj::Vector<ContainerUsageView> views(containers.size());
  for (size_t i = 0; i < asked.size(); ++i) {
    KJ_IF_MAYBE (answer, answers[i]) {
      for (auto usage : answer->getContainers()) {
        if (running.find(kj::StringPtr(usage.getId())) == nullptr) continue;
        KJ_IF_MAYBE (view, viewOf(*asked[i], usage)) views.add(kj::mv(*view));
      }
    }
  }
  co_return views.releaseAsArray();
}

kj::Promise<kj::Array<PodUsageView>> UsageManager::ofPods(kj::Array<PodView> wanted) {
  kj::Vector<kj::Own<Pod>> pods;
  kj::Vector<kj::Own<Container>> containers;
  for (auto& view : wanted) {
    if (!view.ready) continue;
    auto pod = parts.inventory.getPod(view.record.get().getId());
    for (auto& container : parts.inventory.containersOf(*pod)) {
      if (container->state() == ContainerView::State::RUNNING) containers.add(kj::mv(container));
    }
    pods.add(kj::mv(pod));
  }
  auto asking = askAll(pods, true);
  co_await layers.refresh(containers);
  auto answers = co_await asking;

  kj::Vector<PodUsageView> views(pods.size());
  for (size_t i = 0; i < pods.size(); ++i) {
    KJ_IF_MAYBE (answer, answers[i]) {
      kj::Vector<ContainerUsageView> inside;
      for (auto usage : answer->getContainers()) {
        KJ_IF_MAYBE (view, viewOf(*pods[i], usage)) inside.add(kj::mv(*view));
      }
      views.add(PodUsageView{parts.inventory.view(*pods[i]).record,
                             Owned<shim::PodUsage>(answer->getPod()), inside.releaseAsArray()});
    }
  }
  co_return views.releaseAsArray();
}

}  // namespace belay::supervisor
