// All pods and containers that belayd knows: in memory, and each change in the database before
// anybody is told. The managers do the work; this is where they look things up and write them down.
#pragma once

#include <kj/async.h>
#include <kj/map.h>
#include <kj/refcount.h>

#include "snapshot/sys/child.h"
#include "supervisor/database.h"
#include "supervisor/runtime.h"
#include "supervisor/shim-connection.h"
#include "supervisor/turns.h"

namespace belay::supervisor {

class Inventory;

// A pod. Refcounted: operations hold it while it is being removed.
class Pod final : public kj::Refcounted, private ShimConnection::Observer {
 public:
  Pod(Inventory& inventory, Owned<PodRecord> record);

  kj::StringPtr id() const { return name; }
  // Valid until the record is changed.
  PodRecord::Reader get() const { return record.get(); }
  PodStage stage() const { return record.get().getStage(); }

  // Operations that change the pod take turns.
  Turns turns;

  // Containers in the making: stopping the pod cancels them, and each undoes itself.
  kj::Canceler creations;

  // A connection for this pod, in place of any earlier one.
  ShimConnection& newConnection(kj::LowLevelAsyncIoProvider& io, kj::UnixEventPort& port,
                                kj::Timer& timer, int folder);
  // Null when the shim was never started or its folder is gone.
  kj::Maybe<ShimConnection&> shim();
  // The shim was seen dead, or cannot live: nobody will tell anything of this pod any more.
  bool isShimDead();
  // To be said of a pod whose folder is not there.
  void setShimDead() { noShim = true; }

  // The shim itself, within a short time. Throws UNAVAILABLE.
  kj::Promise<shim::Shim::Client> client();

  // How processes ended that a dead shim of this pod left and belayd reaped; the next one is told.
  kj::Array<Owned<shim::OrphanExit>> orphanExits() const;

 private:
  friend class Inventory;
  Inventory& inventory;
  kj::String name;
  Owned<PodRecord> record;
  kj::Maybe<kj::Own<ShimConnection>> connection;
  bool noShim = false;
  kj::HashMap<kj::String, Owned<shim::OrphanExit>> orphans;  // by container

  void noteOrphan(kj::StringPtr containerId, const Owned<shim::OrphanExit>& exit);
  void containerChanged(shim::ContainerState::Reader state) override;
  void shimDied() override;
};

class Container final : public kj::Refcounted {
 public:
  Container(kj::Own<Pod> pod, Owned<ContainerRecord> record);

  kj::StringPtr id() const { return name; }
  // Valid until the record is changed.
  ContainerRecord::Reader get() const { return record.get(); }
  Pod& pod() const { return *owner; }

  // As it is to be reported; UNKNOWN when it has not exited and no shim tells.
  ContainerView::State state() const;
  bool hasExited() const { return record.get().getLast().getStage() == shim::Stage::EXITED; }

  Turns turns;

  // What it has written to its root file system, as far as it was measured (LayerUsage).
  struct Layer {
    uint64_t bytes = 0;
    uint64_t inodes = 0;
    int64_t timestampNs = 0;  // CLOCK_REALTIME of the measurement; 0 before the first one
    kj::TimePoint dueAt = kj::origin<kj::TimePoint>();
    kj::Maybe<kj::ForkedPromise<void>> measuring;
    kj::Own<kj::PromiseFulfiller<void>> measured;
  };
  Layer layer;

 private:
  friend class Inventory;
  mutable kj::Own<Pod> owner;
  kj::String name;
  Owned<ContainerRecord> record;
};

class Inventory {
 public:
  // Both outlive this object.
  Inventory(Database& database, HeldDescriptors& held) : database(database), held(held) {}
  KJ_DISALLOW_COPY_AND_MOVE(Inventory);

  // Reads all records, at start. Containers whose pod is unknown are returned, not kept.
  kj::Array<Owned<ContainerRecord>> load();

  // Called when a shim dies, after the pod was marked; for the one who settles what it leaves.
  void onShimDeath(kj::Function<void(Pod&)> callback) { shimDeath = kj::mv(callback); }

  // --- pods
  kj::Own<Pod> add(Owned<PodRecord> record);
  // `change(PodRecord::Builder)`; written down at return.
  template <typename Change>
  void update(Pod& pod, Change&& change) {
    pod.record = pod.record.with(kj::fwd<Change>(change));
    database.put(pod.record);
  }
  void remove(Pod& pod);

  // By id or an unambiguous prefix of it; pods being made are not found. Null if there is none;
  // INVALID_ARGUMENT if there are several.
  kj::Maybe<kj::Own<Pod>> findPod(kj::StringPtr id);
  // Throws NOT_FOUND.
  kj::Own<Pod> getPod(kj::StringPtr id);
  // Those with this metadata (name, namespace, uid, attempt), in whatever stage: one, and others
  // that are being made or removed.
  kj::Array<kj::Own<Pod>> podsNamed(PodConfig::Reader config);
  kj::Array<kj::Own<Pod>> allPods();
  // It was removed; somebody only holds it still.
  bool isGone(const Pod& pod) { return pods.find(pod.id()) == nullptr; }
  // By full id, in whatever stage.
  bool knowsPod(kj::StringPtr id) { return pods.find(id) != nullptr; }

  // --- containers
  kj::Own<Container> add(Pod& pod, Owned<ContainerRecord> record);
  template <typename Change>
  void update(Container& container, Change&& change) {
    container.record = container.record.with(kj::fwd<Change>(change));
    database.put(container.record);
  }
  void remove(Container& container);

  kj::Maybe<kj::Own<Container>> findContainer(kj::StringPtr id);
  kj::Own<Container> getContainer(kj::StringPtr id);
  // In whatever stage, also those that findContainer() hides.
  kj::Array<kj::Own<Container>> containersNamed(const Pod& pod, kj::StringPtr name,
                                                uint32_t attempt);
  kj::Array<kj::Own<Container>> containersOf(const Pod& pod);
  kj::Array<kj::Own<Container>> allContainers();
  bool isGone(const Container& container) { return containers.find(container.id()) == nullptr; }
  bool knowsContainer(kj::StringPtr id) { return containers.find(id) != nullptr; }

  // --- news
  // From a pod's shim, or from what it wrote down. Never takes a container back to an earlier
  // stage, and believes no shim about another pod's containers.
  void apply(const Pod& pod, shim::ContainerState::Reader state);
  // Nobody can tell how it ended: exited with code 255. `reason` is the CRI's, one CamelCase word.
  void markLost(Container& container, kj::StringPtr message, kj::StringPtr reason = "Unknown");
  // A process that nobody waited for has exited: a container's, if its shim is dead. The shim that
  // has adopted it, or will, is told; without one, it is written down here.
  void orphanExited(pid_t pid, snapshot::ExitStatus status);
  // There will be no such shim: what was to be told is written down.
  void settleOrphans(Pod& pod);

  // --- as they are to be reported
  PodView view(Pod& pod);
  ContainerView view(Container& container);

 private:
  friend class Pod;
  Database& database;
  HeldDescriptors& held;
  kj::HashMap<kj::String, kj::Own<Pod>> pods;
  kj::HashMap<kj::String, kj::Own<Container>> containers;
  kj::Maybe<kj::Function<void(Pod&)>> shimDeath;

  void writeExit(Container& container, shim::OrphanExit::Reader exit);
  kj::Own<Pod> keep(Owned<PodRecord> record);
  kj::Own<Container> keep(Pod& pod, Owned<ContainerRecord> record);
};

// CLOCK_REALTIME in nanoseconds.
int64_t wallClockNs();

}  // namespace belay::supervisor
