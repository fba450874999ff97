// Implementation of pod.h.
#include "shim/pod.h"

#include <kj/debug.h>
#include <unistd.h>

#include "failpoint/failpoint.h"
#include "shim/failure.h"
#include "shim/port-forward.h"
#include "shim/record.h"
#include "shim/shim-lock.h"
#include "shim/sys/clock.h"

namespace belay::shim {
namespace {

// A container's folder has its id for a name, beside what else lies in the pod's directory.
constexpr size_t MAX_ID = 128;
constexpr kj::StringPtr RESERVED[] = {"ns"_kj,     "shm"_kj,  "proc"_kj,
                                      "rootfs"_kj, "lock"_kj, "state"_kj};

}  // namespace

kj::Maybe<kj::StringPtr> Pod::findFault(kj::StringPtr containerId) {
  if (containerId.size() == 0 || containerId.size() > MAX_ID) {
    return "an id has 1 to 128 characters"_kj;
  }
  for (char c : containerId) {
    bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                c == '-' || c == '_';
    if (!good) return "an id has letters, digits, dashes and underscores only"_kj;
  }
  for (auto name : RESERVED) {
    if (containerId == name) return "the shim needs that name for itself"_kj;
  }
  return nullptr;
}

Pod::Pod(ShimContext& context, kj::StringPtr id, int dirFd)
    : shimContext(context),
      id(kj::str(id)),
      dirFd(dirFd),
      bootId(readBootId()),
      specMessage(kj::heap<capnp::MallocMessageBuilder>()),
      creationSucceeded(nullptr),
      removed(nullptr),
      tasks(*this),
      sessions(*this) {
  auto creating = kj::newPromiseAndFulfiller<void>();
  createdFulfiller = kj::mv(creating.fulfiller);
  creationSucceeded = creating.promise.fork();
  auto removing = kj::newPromiseAndFulfiller<void>();
  removedFulfiller = kj::mv(removing.fulfiller);
  removed = removing.promise.fork();
}

// --- the pod itself

kj::Promise<kj::Maybe<FailureValue>> Pod::create(PodSpec::Reader spec) {
  if (removing) {
    co_return plainFailure(Failure::Code::FAILED_PRECONDITION, "create pod", id,
                           "it is being removed");
  }
  if (spec.getId() != id) {
    co_return plainFailure(Failure::Code::INVALID_ARGUMENT, "create pod", spec.getId(),
                           kj::str("this shim is that of pod ", id));
  }
  if (creation == nullptr || creationFailure != nullptr) {
    specMessage = kj::heap<capnp::MallocMessageBuilder>();
    specMessage->setRoot(spec);
    begin(makePod(), "create pod"_kj);
  }
  co_return co_await whenBegun();
}

// Both ways for a pod to come to this shim.
void Pod::begin(kj::Promise<kj::Maybe<FailureValue>> work, kj::StringPtr step) {
  creationFailure = nullptr;
  creation =
      asFailure(kj::mv(work), step, id)
          .then([this](kj::Maybe<FailureValue> failure) { creationFailure = kj::mv(failure); })
          .fork();
}

kj::Promise<kj::Maybe<FailureValue>> Pod::whenBegun() {
  co_await KJ_ASSERT_NONNULL(creation).addBranch();
  KJ_IF_MAYBE (failure, creationFailure) co_return copyFailure(*failure);
  co_return nullptr;
}

kj::Promise<kj::Maybe<FailureValue>> Pod::makePod() {
  auto spec = getSpec();
  auto own = Cgroup::create(shimContext.engine.cgroups, spec.getCgroupPath());
  CO_FAILPOINT(shimContext.engine.timer, "shim.create-pod/after-cgroup");
  bool finished = false;
  KJ_DEFER({
    if (!finished && own->made()) kj::runCatchingExceptions([&]() { own->removeIfUnused(); });
  });
  auto result = co_await makePodNamespaces(shimContext.engine, spec);
  if (result.is<FailureValue>()) co_return kj::mv(result.get<FailureValue>());
  CO_FAILPOINT(shimContext.engine.timer, "shim.create-pod/after-namespaces");
  finished = true;
  podNamespaces = kj::mv(result.get<PodNamespaces>());
  madeCgroup = own->made();
  cgroup = kj::mv(own);
  createdAtNs = realtimeNs();
  co_await becomeCreated();
  co_return nullptr;
}

kj::Promise<void> Pod::becomeCreated() {
  created = true;
  writePodRecord();
  CO_FAILPOINT(shimContext.engine.timer, "shim.create-pod/after-record");
  createdFulfiller->fulfill();
}

void Pod::fillState(PodState::Builder state) const {
  state.setId(id);
  state.setCreated(created);
  state.setCreatedAtNs(createdAtNs);
  state.setNetnsPath(getSpec().getNetnsPath());
  kj::Vector<const PodContainer*> ready;
  for (auto& entry : containers) {
    if (entry.value->container->isReady()) ready.add(entry.value->container.get());
  }
  auto list = state.initContainers(ready.size());
  for (uint i : kj::indices(ready))
    ready[i]->fillState(list[i]);
}

kj::Maybe<FailureValue> Pod::fillUsage(bool wholePod, Shim::UsageResults::Builder results) {
  if (!created || removing) {
    return plainFailure(Failure::Code::FAILED_PRECONDITION, "read the usage of pod", id,
                        removing ? "it is being removed"_kj : "it has not been created"_kj);
  }
  kj::Vector<kj::Own<PodContainer>> running;
  for (auto& container : all()) {
    if (container->livePidfd() != nullptr) running.add(kj::mv(container));
  }
  auto list = results.initContainers(running.size());
  for (uint i : kj::indices(running))
    running[i]->fillUsage(list[i]);
  if (!wholePod) return nullptr;
  if (usage == nullptr) {
    usage.emplace(shimContext.engine.cgroups, getSpec().getCgroupPath(), podNamespaces.net.get(),
                  createdAtNs);
  }
  KJ_ASSERT_NONNULL(usage).read(results.initPod());
  return nullptr;
}

void Pod::writePodRecord() {
  capnp::MallocMessageBuilder message;
  auto record = message.initRoot<ShimRecord>();
  record.setProtocolVersion(PROTOCOL_VERSION);
  record.setShimPid(getpid());
  record.setBootId(bootId);
  fillState(record.initPod());
  record.setSpec(getSpec());
  record.setMadeCgroup(madeCgroup);
  record.setGeneration(ownGeneration);
  writeRecord(dirFd, STATE_FILE, message);
}

// --- containers on their way in

kj::Promise<Pod::Created> Pod::createContainer(ContainerSpec::Reader spec) {
  Created answer;
  if (!created || removing) {
    answer.init<FailureValue>(
        plainFailure(Failure::Code::FAILED_PRECONDITION, "create container", spec.getId(),
                     removing ? "the pod is being removed"_kj : "the pod has not been created"_kj));
    co_return answer;
  }
  KJ_IF_MAYBE (fault, findFault(spec.getId())) {
    answer.init<FailureValue>(
        plainFailure(Failure::Code::INVALID_ARGUMENT, "create container", spec.getId(), *fault));
    co_return answer;
  }
  // One of the same id may still be on its way out.
  co_await whenLeft(spec.getId()).catch_([](kj::Exception&&) {});

  auto entry = findOrPrepare(spec);
  {
    entry->waiting++;
    KJ_DEFER({
      // The last one that waits was cancelled.
      if (--entry->waiting == 0 && entry->failure == nullptr && !entry->container->isReady()) {
        abandon(*entry);
      }
    });
    co_await entry->preparing.addBranch();
  }
  KJ_IF_MAYBE (failure, entry->failure) {
    abandon(*entry);
    co_await whenLeft(spec.getId()).catch_([](kj::Exception&&) {});
    answer.init<FailureValue>(copyFailure(*failure));
  } else {
    answer.init<kj::Own<PodContainer>>(kj::addRef(*entry->container));
  }
  co_return answer;
}

kj::Own<Pod::Entry> Pod::findOrPrepare(ContainerSpec::Reader spec) {
  KJ_IF_MAYBE (known, containers.find(spec.getId())) return kj::addRef(**known);
  auto entry = kj::refcounted<Entry>(kj::refcounted<PodContainer>(*this, spec));
  auto& target = *entry;
  entry->preparing =
      asFailure(entry->canceler.wrap(entry->container->prepare(spec)), "create container"_kj,
                spec.getId())
          .then([&target](kj::Maybe<FailureValue> failure) { target.failure = kj::mv(failure); })
          .fork();
  containers.insert(kj::str(spec.getId()), kj::addRef(*entry));
  return entry;
}

// Forgets a container that is not ready and takes away what there is of it.
void Pod::abandon(Entry& entry) {
  auto containerId = kj::str(entry.container->getId());
  KJ_IF_MAYBE (known, containers.find(containerId)) {
    if (known->get() != &entry) return;  // another one's by now
    auto container = kj::addRef(*entry.container);
    if (entry.failure == nullptr) entry.canceler.cancel("the pod or the request ended");
    containers.erase(containerId);
    beginLeaving(kj::mv(container));
  }
}

// --- containers on their way out

void Pod::beginLeaving(kj::Own<PodContainer> container) {
  auto containerId = kj::str(container->getId());
  if (leaving.find(containerId) != nullptr) return;
  auto removal = removeContainerNow(kj::mv(container)).fork();
  tasks.add(
      removal.addBranch()
          .catch_([](kj::Exception&& exception) {
            KJ_LOG(ERROR, "cannot remove a container", exception);
          })
          .then([this, containerId = kj::str(containerId)]() { leaving.erase(containerId); }));
  leaving.insert(kj::mv(containerId), kj::mv(removal));
}

kj::Promise<void> Pod::whenLeft(kj::StringPtr containerId) {
  KJ_IF_MAYBE (removal, leaving.find(containerId)) return removal->addBranch();
  return kj::READY_NOW;
}

kj::Promise<void> Pod::removeContainerNow(kj::Own<PodContainer> container) {
  Work work(shimContext.work);
  co_await container->remove();
  CO_FAILPOINT(shimContext.engine.timer, "shim.remove-container/before-record");
  KJ_IF_MAYBE (entry, containers.find(container->getId())) {
    if ((*entry)->container.get() == container.get()) containers.erase(container->getId());
  }
  if (created) writePodRecord();
}

kj::Promise<kj::Maybe<FailureValue>> Pod::removeContainer(kj::Own<PodContainer> container) {
  if (container->isRemoved()) return kj::Maybe<FailureValue>();
  auto containerId = kj::str(container->getId());
  beginLeaving(kj::mv(container));
  auto done = whenLeft(containerId).then([]() { return kj::Maybe<FailureValue>(); });
  return asFailure(kj::mv(done), "remove container"_kj, containerId);
}

// --- everything

kj::Promise<kj::Maybe<FailureValue>> Pod::remove() {
  removing = true;
  // After a failure it is tried again; while one runs it is joined.
  if (removal == nullptr) removal = removeAll().fork();
  auto done = KJ_ASSERT_NONNULL(removal).addBranch().then(
      []() { return kj::Maybe<FailureValue>(); },
      [this](kj::Exception&& exception) {
        removal = nullptr;
        return kj::Maybe<FailureValue>(failureOf("remove pod"_kj, id, exception));
      });
  return done;
}

kj::Promise<void> Pod::removeAll() {
  // Making namespaces takes milliseconds and waits for nothing outside.
  KJ_IF_MAYBE (making, creation) co_await making->addBranch();
  for (auto& container : all())
    beginLeaving(kj::mv(container));
  kj::Vector<kj::Own<Entry>> unready;
  for (auto& entry : containers) {
    if (!entry.value->container->isReady()) unready.add(kj::addRef(*entry.value));
  }
  for (auto& entry : unready)
    abandon(*entry);
  kj::Vector<kj::Promise<void>> left;
  for (auto& entry : leaving)
    left.add(entry.value.addBranch());
  co_await kj::joinPromises(left.releaseAsArray());
  CO_FAILPOINT(shimContext.engine.timer, "shim.remove-pod/after-containers");

  if (created) {
    sessions.clear();
    co_await removePodNamespaces(shimContext.engine, getSpec());
    usage = nullptr;
    podNamespaces = PodNamespaces();
  }
  CO_FAILPOINT(shimContext.engine.timer, "shim.remove-pod/after-namespaces");
  KJ_IF_MAYBE (own, cgroup) {
    // The node's agent owns a cgroup that was there before.
    if (madeCgroup) (*own)->removeIfUnused();
  }
  removeFile(dirFd, STATE_FILE);
  CO_FAILPOINT(shimContext.engine.timer, "shim.remove-pod/after-record");
  removeLock(dirFd);
  created = false;
  gone = true;
  removedFulfiller->fulfill();
}

// --- for containers and servers

kj::Maybe<PodContainer&> Pod::find(kj::StringPtr containerId) {
  KJ_IF_MAYBE (entry, containers.find(containerId)) {
    if ((*entry)->container->isReady()) return *(*entry)->container;
  }
  return nullptr;
}

kj::Vector<kj::Own<PodContainer>> Pod::all() {
  kj::Vector<kj::Own<PodContainer>> result;
  for (auto& entry : containers) {
    if (entry.value->container->isReady()) result.add(kj::addRef(*entry.value->container));
  }
  return result;
}

void Pod::containerCreated(PodContainer& container) {
  containerChanged(container);
  watchers.tellDescriptors(container);
}

void Pod::containerChanged(PodContainer& container) {
  writePodRecord();
  FAILPOINT("shim.container/before-telling");
  watchers.tellChanged(container);
}

void Pod::descriptorReleased(PodContainer& container, kj::StringPtr name) {
  watchers.tellReleased(kj::str(container.getId(), '/', name));
}

kj::OneOf<kj::AutoCloseFd, FailureValue> Pod::portForward() {
  kj::OneOf<kj::AutoCloseFd, FailureValue> answer;
  if (!created || removing) {
    answer.init<FailureValue>(
        plainFailure(Failure::Code::FAILED_PRECONDITION, "forward ports of pod", id,
                     removing ? "it is being removed"_kj : "it has not been created"_kj));
    return answer;
  }
  auto sockets = makePacketPair();
  keepSession(servePortForward(shimContext, kj::mv(sockets.ours), podNamespaces.net));
  answer.init<kj::AutoCloseFd>(kj::mv(sockets.theirs));
  return answer;
}

kj::Maybe<int> Pod::pidfdOf(kj::StringPtr containerId) {
  KJ_IF_MAYBE (container, find(containerId)) return container->livePidfd();
  return nullptr;
}

void Pod::watch(Watcher::Client watcher) {
  auto present = all();
  watchers.add(kj::mv(watcher), present);
}

void Pod::taskFailed(kj::Exception&& exception) {
  KJ_LOG(ERROR, "background work of the pod failed", id, exception);
}

}  // namespace belay::shim
