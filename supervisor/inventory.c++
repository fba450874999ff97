// See inventory.h.
#include "supervisor/inventory.h"

#include <capnp/any.h>
#include <kj/debug.h>
#include <time.h>

#include "snapshot/failure.h"
#include "supervisor/log.h"

namespace belay::supervisor {

namespace {

using snapshot::Code;
using snapshot::fail;

// Exact, else the one id that starts so and that `shown` lets pass.
template <typename T, typename Shown>
kj::Maybe<kj::Own<T>> findByPrefix(kj::HashMap<kj::String, kj::Own<T>>& all, kj::StringPtr id,
                                   kj::StringPtr kind, Shown&& shown) {
  if (id.size() == 0) return nullptr;
  KJ_IF_MAYBE (exact, all.find(id)) {
    if (shown(**exact)) return kj::addRef(**exact);
    return nullptr;
  }
  kj::Maybe<T&> found;
  for (auto& entry : all) {
    if (!entry.key.startsWith(id) || !shown(*entry.value)) continue;
    if (found != nullptr) {
      fail(Code::INVALID_ARGUMENT, "several ", kind, "s have an id that starts with ", id,
           ": give more of it");
    }
    found = *entry.value;
  }
  return found.map([](T& one) { return kj::addRef(one); });
}

bool isShown(const Pod& pod) {
  return pod.stage() != PodStage::CREATING;
}

bool isShown(const Container& container) {
  return !container.get().getCreating();
}

}  // namespace

int64_t wallClockNs() {
  timespec time;
  clock_gettime(CLOCK_REALTIME, &time);
  return time.tv_sec * 1'000'000'000ll + time.tv_nsec;
}

// ---------------------------------------------------------------------------------------------
// Pod

Pod::Pod(Inventory& inventory, Owned<PodRecord> record)
    : inventory(inventory), name(kj::str(record.get().getId())), record(kj::mv(record)) {}

ShimConnection& Pod::newConnection(kj::LowLevelAsyncIoProvider& io, kj::UnixEventPort& port,
                                   kj::Timer& timer, int folder) {
  ShimConnection::Observer& observer = *this;
  auto fresh = kj::heap<ShimConnection>(io, port, timer, folder, inventory.held, observer);
  auto& reference = *fresh;
  connection = kj::mv(fresh);
  return reference;
}

kj::Maybe<ShimConnection&> Pod::shim() {
  return connection.map([](kj::Own<ShimConnection>& own) -> ShimConnection& { return *own; });
}

bool Pod::isShimDead() {
  if (noShim) return true;
  KJ_IF_MAYBE (own, connection) {
    return (*own)->isDead();
  }
  return false;
}

kj::Promise<shim::Shim::Client> Pod::client() {
  KJ_IF_MAYBE (own, connection) {
    return (*own)->client();
  }
  fail(Code::UNAVAILABLE, "pod ", id(), " has no shim");
}

kj::Array<Owned<shim::OrphanExit>> Pod::orphanExits() const {
  return KJ_MAP(entry, orphans) {
    return entry.value;
  };
}

void Pod::noteOrphan(kj::StringPtr containerId, const Owned<shim::OrphanExit>& exit) {
  orphans.upsert(kj::str(containerId), exit);
  KJ_IF_MAYBE (own, connection) (*own)->tellOrphanExited(exit.get());
}

void Pod::containerChanged(shim::ContainerState::Reader state) {
  if (state.getStage() == shim::Stage::EXITED) orphans.erase(state.getId());
  inventory.apply(*this, state);
}

void Pod::shimDied() {
  KJ_IF_MAYBE (callback, inventory.shimDeath) {
    (*callback)(*this);
  }
}

// ---------------------------------------------------------------------------------------------
// Container

Container::Container(kj::Own<Pod> pod, Owned<ContainerRecord> record)
    : owner(kj::mv(pod)), name(kj::str(record.get().getId())), record(kj::mv(record)) {}

ContainerView::State Container::state() const {
  auto stage = record.get().getLast().getStage();
  if (stage == shim::Stage::EXITED) return ContainerView::State::EXITED;
  bool told = false;
  KJ_IF_MAYBE (shim, owner->shim()) {
    told = shim->wasReached() && !shim->isDead();
  }
  if (!told) return ContainerView::State::UNKNOWN;
  return stage == shim::Stage::RUNNING ? ContainerView::State::RUNNING
                                       : ContainerView::State::CREATED;
}

// ---------------------------------------------------------------------------------------------
// Inventory

kj::Array<Owned<ContainerRecord>> Inventory::load() {
  for (auto& record : database.pods())
    keep(kj::mv(record));
  kj::Vector<Owned<ContainerRecord>> homeless;
  for (auto& record : database.containers()) {
    KJ_IF_MAYBE (pod, pods.find(kj::StringPtr(record.get().getPodId()))) {
      keep(**pod, kj::mv(record));
    } else {
      homeless.add(kj::mv(record));
    }
  }
  return homeless.releaseAsArray();
}

kj::Own<Pod> Inventory::keep(Owned<PodRecord> record) {
  auto id = kj::str(record.get().getId());
  auto pod = kj::refcounted<Pod>(*this, kj::mv(record));
  pods.insert(kj::mv(id), kj::addRef(*pod));
  return pod;
}

kj::Own<Container> Inventory::keep(Pod& pod, Owned<ContainerRecord> record) {
  auto id = kj::str(record.get().getId());
  auto container = kj::refcounted<Container>(kj::addRef(pod), kj::mv(record));
  containers.insert(kj::mv(id), kj::addRef(*container));
  return container;
}

kj::Own<Pod> Inventory::add(Owned<PodRecord> record) {
  database.put(record);
  return keep(kj::mv(record));
}

void Inventory::remove(Pod& pod) {
  auto id = kj::str(pod.id());
  database.removePod(id);
  pods.erase(id);
}

kj::Maybe<kj::Own<Pod>> Inventory::findPod(kj::StringPtr id) {
  return findByPrefix(pods, id, "pod", [](Pod& pod) { return isShown(pod); });
}

kj::Own<Pod> Inventory::getPod(kj::StringPtr id) {
  KJ_IF_MAYBE (pod, findPod(id)) {
    return kj::mv(*pod);
  }
  fail(Code::NOT_FOUND, "no pod sandbox has the id ", id);
}

kj::Array<kj::Own<Pod>> Inventory::podsNamed(PodConfig::Reader config) {
  kj::Vector<kj::Own<Pod>> found;
  for (auto& entry : pods) {
    auto other = entry.value->get().getConfig();
    if (other.getName() == config.getName() && other.getNamespace() == config.getNamespace() &&
        other.getUid() == config.getUid() && other.getAttempt() == config.getAttempt()) {
      found.add(kj::addRef(*entry.value));
    }
  }
  return found.releaseAsArray();
}

kj::Array<kj::Own<Pod>> Inventory::allPods() {
  return KJ_MAP(entry, pods) {
    return kj::addRef(*entry.value);
  };
}

kj::Own<Container> Inventory::add(Pod& pod, Owned<ContainerRecord> record) {
  database.put(record);
  return keep(pod, kj::mv(record));
}

void Inventory::remove(Container& container) {
  auto id = kj::str(container.id());
  database.removeContainer(id);
  held.releaseAllOf(id);
  containers.erase(id);
}

kj::Maybe<kj::Own<Container>> Inventory::findContainer(kj::StringPtr id) {
  return findByPrefix(containers, id, "container",
                      [](Container& container) { return isShown(container); });
}

kj::Own<Container> Inventory::getContainer(kj::StringPtr id) {
  KJ_IF_MAYBE (container, findContainer(id)) {
    return kj::mv(*container);
  }
  fail(Code::NOT_FOUND, "no container has the id ", id);
}

kj::Array<kj::Own<Container>> Inventory::containersNamed(const Pod& pod, kj::StringPtr name,
                                                         uint32_t attempt) {
  kj::Vector<kj::Own<Container>> found;
  for (auto& entry : containers) {
    auto record = entry.value->get();
    if (&entry.value->pod() == &pod && record.getConfig().getName() == name &&
        record.getConfig().getAttempt() == attempt) {
      found.add(kj::addRef(*entry.value));
    }
  }
  return found.releaseAsArray();
}

kj::Array<kj::Own<Container>> Inventory::containersOf(const Pod& pod) {
  kj::Vector<kj::Own<Container>> found;
  for (auto& entry : containers) {
    if (&entry.value->pod() == &pod) found.add(kj::addRef(*entry.value));
  }
  return found.releaseAsArray();
}

kj::Array<kj::Own<Container>> Inventory::allContainers() {
  return KJ_MAP(entry, containers) {
    return kj::addRef(*entry.value);
  };
}

void Inventory::apply(const Pod& pod, shim::ContainerState::Reader state) {
  KJ_IF_MAYBE (found, containers.find(kj::StringPtr(state.getId()))) {
    auto& container = **found;
    auto last = container.get().getLast();
    if (&container.pod() != &pod) return;
    if (state.getStage() < last.getStage() || last.getStage() == shim::Stage::EXITED) return;
    // What is known is not written again: after a restart every shim tells everything.
    if (capnp::AnyStruct::Reader(state) == capnp::AnyStruct::Reader(last)) return;
    // A shim does not know what the record was made with; times and pid are its to tell.
    update(container, [&](ContainerRecord::Builder record) { record.setLast(state); });
    if (state.getStage() == shim::Stage::EXITED) {
      auto exit = state.getExit();
      log(LogLevel::INFO, "container has exited", "container", container.id(), "pod",
          container.pod().id(), "code", exit.getCode(), "oom", exit.getOomKilled());
    }
  }
}

void Inventory::markLost(Container& container, kj::StringPtr message, kj::StringPtr reason) {
  if (container.hasExited()) return;
  update(container, [&](ContainerRecord::Builder record) {
    auto last = record.getLast();
    last.setStage(shim::Stage::EXITED);
    last.setPid(0);
    auto exit = last.initExit();
    exit.setCode(255);
    exit.setKnown(false);
    exit.setFinishedAtNs(wallClockNs());
    exit.setReason(reason);
    exit.setMessage(message);
  });
}

void Inventory::orphanExited(pid_t pid, snapshot::ExitStatus status) {
  for (auto& entry : containers) {
    auto& container = *entry.value;
    auto last = container.get().getLast();
    if (last.getPid() != pid || container.hasExited()) continue;
    auto exit = Owned<shim::OrphanExit>::make([&](shim::OrphanExit::Builder exit) {
      exit.setPid(pid);
      exit.setCode(status.signal == 0 ? status.exitCode : 128 + status.signal);
      exit.setSignal(status.signal);
      exit.setFinishedAtNs(wallClockNs());
    });
    log(LogLevel::INFO, "container of a dead shim has exited", "container", entry.key, "status",
        status.describe());
    auto& pod = container.pod();
    pod.noteOrphan(entry.key, exit);
    if (pod.isShimDead()) settleOrphans(pod);
    return;
  }
}

void Inventory::settleOrphans(Pod& pod) {
  for (auto& entry : pod.orphans) {
    KJ_IF_MAYBE (container, containers.find(entry.key)) {
      if (!(*container)->hasExited()) writeExit(**container, entry.value.get());
    }
  }
  pod.orphans.clear();
}

void Inventory::writeExit(Container& container, shim::OrphanExit::Reader orphan) {
  update(container, [&](ContainerRecord::Builder record) {
    auto state = record.getLast();
    state.setStage(shim::Stage::EXITED);
    state.setPid(0);
    auto exit = state.initExit();
    exit.setCode(orphan.getCode());
    exit.setSignal(orphan.getSignal());
    exit.setFinishedAtNs(orphan.getFinishedAtNs());
  });
}

PodView Inventory::view(Pod& pod) {
  return {pod.record, pod.stage() == PodStage::READY && !pod.isShimDead()};
}

ContainerView Inventory::view(Container& container) {
  return {container.record, container.state()};
}

}  // namespace belay::supervisor
