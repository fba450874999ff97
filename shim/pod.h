// The pod a shim lives for: its namespaces and cgroup, its containers, its record on tmpfs, and
// those who watch it. The RPC servers translate; everything is decided here and in PodContainer.
#pragma once

#include <capnp/message.h>
#include <kj/async.h>
#include <kj/map.h>
#include <kj/one-of.h>
#include <kj/refcount.h>

#include "shim/engine/namespaces.h"
#include "shim/handover.capnp.h"
#include "shim/inheritance.h"
#include "shim/pod-container.h"
#include "shim/pod-usage.h"
#include "shim/shim-context.h"
#include "shim/watchers.h"

namespace belay::shim {

class Pod final : public ContainerHost, private kj::TaskSet::ErrorHandler {
 public:
  // The pod's record in its directory.
  static constexpr kj::StringPtr STATE_FILE = "state"_kj;

  // `dirFd` is the pod's directory; it and `context` outlive the pod.
  Pod(ShimContext& context, kj::StringPtr id, int dirFd);
  KJ_DISALLOW_COPY_AND_MOVE(Pod);

  kj::StringPtr getId() const { return id; }

  // Makes the pod. Goes on when the promise is dropped; repeated calls join it. After a failure it
  // may be tried again.
  kj::Promise<kj::Maybe<FailureValue>> create(PodSpec::Reader spec);

  // Instead of create(): takes over the pod that the record in the directory describes, from a shim
  // that is dead. Goes on when the promise is dropped; repeated calls join it. After a failure
  // everything is as it was, and it may be tried again.
  kj::Promise<kj::Maybe<FailureValue>> adopt();

  // What the containers of such a pod go on with.
  Inheritance& inheritance() { return inherited; }

  // For the program that is executed in place of this one: writes the record, and describes what
  // is not in it. Only while no Work is under way (work.h).
  void handOver(Handover::Builder handover);
  // There: adopts the pod, sessions included. To be called before the reaper runs. The reader's
  // memory outlives the promise.
  kj::Promise<kj::Maybe<FailureValue>> resume(Handover::Reader handover);

  void fillState(PodState::Builder state) const;

  // Of the containers that run, and with `pod` of the pod.
  kj::Maybe<FailureValue> fillUsage(bool pod, Shim::UsageResults::Builder results);

  using Created = kj::OneOf<kj::Own<PodContainer>, FailureValue>;

  // Prepares a container, or joins the preparation of the same id, or gives what is there. When all
  // promises for it are dropped before it is prepared, what there is of it is taken away.
  kj::Promise<Created> createContainer(ContainerSpec::Reader spec);

  // One that is prepared and not removed.
  kj::Maybe<PodContainer&> find(kj::StringPtr containerId);
  kj::Vector<kj::Own<PodContainer>> all();

  // Removes a container and forgets it.
  kj::Promise<kj::Maybe<FailureValue>> removeContainer(kj::Own<PodContainer> container);

  // The socket of a session that dials into the pod's network.
  kj::OneOf<kj::AutoCloseFd, FailureValue> portForward();

  void watch(Watcher::Client watcher);

  // Kills and removes everything. May be repeated after a failure.
  kj::Promise<kj::Maybe<FailureValue>> remove();

  // How many programs have run the pod before this one.
  uint32_t generation() override { return ownGeneration; }
  bool isCreated() const { return created; }
  bool isRemoved() const { return gone; }

  // Resolve once create(), or remove(), has succeeded.
  kj::Promise<void> whenCreated() { return creationSucceeded.addBranch(); }
  kj::Promise<void> whenRemoved() { return removed.addBranch(); }

 private:
  // A container and its preparation, which those who wait for it share.
  struct Entry : public kj::Refcounted {
    explicit Entry(kj::Own<PodContainer> container) : container(kj::mv(container)) {}
    kj::Own<PodContainer> container;
    kj::Maybe<FailureValue> failure;
    uint waiting = 0;
    kj::Canceler canceler;
    kj::ForkedPromise<void> preparing = nullptr;
  };

  // Why a container cannot have that id, if so.
  static kj::Maybe<kj::StringPtr> findFault(kj::StringPtr containerId);

  ShimContext& context() override { return shimContext; }
  const PodNamespaces& namespaces() override { return podNamespaces; }
  int podDirFd() override { return dirFd; }
  void containerCreated(PodContainer& container) override;
  void containerChanged(PodContainer& container) override;
  void descriptorReleased(PodContainer& container, kj::StringPtr name) override;
  void keepSession(kj::Promise<void> session) override { sessions.add(kj::mv(session)); }
  kj::Maybe<int> pidfdOf(kj::StringPtr containerId) override;

  PodSpec::Reader getSpec() const { return specMessage->getRoot<PodSpec>().asReader(); }
  void begin(kj::Promise<kj::Maybe<FailureValue>> work, kj::StringPtr step);
  kj::Promise<kj::Maybe<FailureValue>> whenBegun();
  kj::Promise<kj::Maybe<FailureValue>> makePod();
  kj::Promise<kj::Maybe<FailureValue>> takeOver(ShimRecord::Reader record);
  kj::Promise<void> restoreContainer(ContainerState::Reader state);
  void claimLeftovers();
  void resumeSession(Handover::Session::Reader state);
  kj::Promise<void> becomeCreated();
  kj::Promise<void> removeAll();
  kj::Own<Entry> findOrPrepare(ContainerSpec::Reader spec);
  void abandon(Entry& entry);
  void beginLeaving(kj::Own<PodContainer> container);
  kj::Promise<void> whenLeft(kj::StringPtr containerId);
  kj::Promise<void> removeContainerNow(kj::Own<PodContainer> container);
  void writePodRecord();
  void taskFailed(kj::Exception&& exception) override;

  ShimContext& shimContext;
  kj::String id;
  int dirFd;
  kj::String bootId;

  mutable kj::Own<capnp::MallocMessageBuilder> specMessage;  // getRoot() of a builder is not const
  kj::Maybe<kj::Own<Cgroup>> cgroup;
  PodNamespaces podNamespaces;
  kj::Maybe<PodUsageReader> usage;  // made when first asked for; borrows of podNamespaces
  bool madeCgroup = false;
  uint32_t ownGeneration = 0;
  Inheritance inherited;
  bool created = false;
  bool removing = false;
  bool gone = false;
  int64_t createdAtNs = 0;

  kj::Maybe<kj::ForkedPromise<void>> creation;
  kj::Maybe<FailureValue> creationFailure;
  kj::HashMap<kj::String, kj::Own<Entry>> containers;
  // Containers that are being taken away; the same id may come again only afterwards.
  kj::HashMap<kj::String, kj::ForkedPromise<void>> leaving;
  Watchers watchers;

  kj::Maybe<kj::ForkedPromise<void>> removal;
  kj::Own<kj::PromiseFulfiller<void>> createdFulfiller;
  kj::ForkedPromise<void> creationSucceeded;
  kj::Own<kj::PromiseFulfiller<void>> removedFulfiller;
  kj::ForkedPromise<void> removed;
  kj::TaskSet tasks;
  kj::TaskSet sessions;
};

}  // namespace belay::shim
