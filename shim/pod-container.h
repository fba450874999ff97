// One container of the pod, from its cgroup and its child at the gate to its exit and removal.
#pragma once

#include <kj/async.h>
#include <kj/one-of.h>
#include <kj/refcount.h>

#include "shim/attach-session.h"
#include "shim/engine/cgroup-usage.h"
#include "shim/engine/container.h"
#include "shim/exec-session.h"
#include "shim/exec-sync.h"
#include "shim/inheritance.h"
#include "shim/shim-context.h"
#include "shim/shim.capnp.h"
#include "shim/stdio/container-stdio.h"

namespace belay::shim {

class PodContainer;

// What a container needs of its pod. Outlives every container.
class ContainerHost {
 public:
  virtual ShimContext& context() = 0;
  virtual const PodNamespaces& namespaces() = 0;
  virtual int podDirFd() = 0;

  // Each writes the record, then tells the watchers.
  virtual void containerCreated(PodContainer& container) = 0;
  virtual void containerChanged(PodContainer& container) = 0;

  // Whoever holds a duplicate of the container's descriptor must let go of it: the container is to
  // meet the end of its input ("stdin"), or it is of no use any more ("gate").
  virtual void descriptorReleased(PodContainer& container, kj::StringPtr name) = 0;

  // How many programs have run the pod before this one.
  virtual uint32_t generation() = 0;

  // Lets a streaming session go on to its end.
  virtual void keepSession(kj::Promise<void> session) = 0;

  // The first process of another container of the pod, if it runs.
  virtual kj::Maybe<int> pidfdOf(kj::StringPtr containerId) = 0;

 protected:
  ~ContainerHost() = default;
};

// Methods that change something go on when the promise is dropped, unless they say otherwise.
class PodContainer final : public kj::Refcounted,
                           private AttachTarget,
                           private kj::TaskSet::ErrorHandler {
 public:
  PodContainer(ContainerHost& host, ContainerSpec::Reader spec);
  ~PodContainer() noexcept(false);
  KJ_DISALLOW_COPY_AND_MOVE(PodContainer);

  // Everything up to execve. `spec` is read before the first suspension only. After a failure, and
  // after the promise was dropped, remove() takes away what there is.
  kj::Promise<kj::Maybe<FailureValue>> prepare(ContainerSpec::Reader spec);

  // Instead of prepare(): takes over a container that a predecessor has prepared, as its record
  // `state` has it. Both readers are used before the first suspension only.
  kj::Promise<void> restore(ContainerSpec::Reader spec, ContainerState::Reader state,
                            Inheritance& inheritance);

  // Goes on with a session of this container that the program before has served; its descriptors
  // are this object's from now on.
  void resumeSession(Handover::Session::Reader state);

  // Instead of prepare(), too: for one that a predecessor was in the middle of making or removing.
  // remove() takes away what there is.
  void claimLeftover();

  // The spec that a container's directory, one of the pod's, holds. Nothing if there is none.
  static kj::Maybe<kj::Own<capnp::MessageReader>> readSpec(int podDirFd, kj::StringPtr id);

  // Why restore() could not go on with such a container's streams, if so.
  static kj::Maybe<kj::StringPtr> findStreamFault(int podDirFd, kj::StringPtr id);

  // The methods of the RPC interface (shim.capnp says what they do).
  kj::Promise<kj::Maybe<FailureValue>> start();
  kj::Promise<kj::Maybe<FailureValue>> stop(int signal, kj::Duration grace);
  kj::Promise<void> whenExited() override { return exited.addBranch(); }
  kj::Promise<kj::OneOf<ExecSyncResult, FailureValue>> execSync(ProcessSpec::Reader process,
                                                                ExecSyncLimits limits);
  // The session's socket. `process` is copied.
  kj::OneOf<kj::AutoCloseFd, FailureValue> exec(ProcessSpec::Reader process, StreamChoice choice);
  kj::OneOf<kj::AutoCloseFd, FailureValue> attach(StreamChoice choice);
  kj::Promise<kj::Maybe<FailureValue>> reopenLog();
  kj::Maybe<FailureValue> updateResources(Resources::Reader resources,
                                          kj::Maybe<int32_t> oomScoreAdj);
  kj::Promise<void> remove();
  kj::Maybe<FailureValue> signal(int signal);

  void fillState(ContainerState::Builder state) const;
  // For one that runs.
  void fillUsage(ContainerUsage::Builder usage);
  void fillExit(Exit::Builder exit) const override;

  kj::StringPtr getId() const { return id; }
  // It has been created, as far as anybody was told.
  bool isReady() const { return createdAtNs != 0; }
  bool hasExited() const { return stage == Stage::EXITED; }
  bool isRemoved() const { return removed; }
  kj::Maybe<int> livePidfd() const;

  // What must not die with this process; "<container id>/stdout" and so on. Borrowed.
  struct Descriptor {
    kj::String name;
    int fd;
  };
  kj::Vector<Descriptor> descriptors() const;

 private:
  // Files of the container's directory, besides those of its streams.
  static constexpr kj::StringPtr SPEC_FILE = "spec"_kj;
  static constexpr kj::StringPtr PIDFD_FILE = "pidfd"_kj;

  struct ExitRecord {
    ExitStatus status{};
    bool oomKilled = false;
    kj::String reason;
    kj::String message;
  };

  static ContainerStdio::Options stdioOptions(ContainerSpec::Reader spec);

  void makeDirectory();
  void openDirectory();
  kj::AutoCloseFd openProcess(pid_t pid, Inheritance& inheritance);
  kj::Promise<ExitStatus> onExitOf(const Prepared& child);
  void resumeStart();
  void readExit(Exit::Reader record);
  kj::Maybe<FailureValue> makeCgroup(ContainerSpec::Reader spec);
  void beginStart();
  kj::Promise<void> release();
  kj::Promise<void> endCgroup();
  kj::Promise<void> watchExit(kj::Promise<ExitStatus> exit);
  kj::Promise<void> clearAway();
  kj::Maybe<FailureValue> refuseUnlessRunning(kj::StringPtr step) const;
  EnterTarget enterTarget();
  kj::Own<Cgroup> makeExecCgroup();
  kj::Maybe<FailureValue> refuseAttach(StreamChoice choice) const override;
  ContainerStdio& attachedStdio() override { return *stdio; }
  void attachedInputEnded() override;
  kj::StringPtr attachedId() const override { return id; }
  void serveExec(kj::AutoCloseFd socket, ProcessSpec::Reader process, StreamChoice choice);
  void serveAttach(kj::AutoCloseFd socket, StreamChoice choice);
  void keepSession(kj::Promise<void> session);
  void taskFailed(kj::Exception&& exception) override;

  ContainerHost& host;
  ShimContext& context;

  // Of the spec, which lies whole in the container's directory, only what is needed again.
  kj::String id;
  kj::String cgroupPath;
  kj::String logPath;
  int stopSignal;

  kj::AutoCloseFd dirFd;
  kj::Own<Cgroup> cgroup;
  kj::Maybe<CgroupUsageReader> usage;  // made when first asked for
  kj::Own<ContainerStdio> stdio;
  kj::Maybe<Prepared> prepared;
  UserIds user;

  Stage stage = Stage::CREATED;
  bool alive = false;  // the first process has not been reaped
  bool removed = false;
  bool removalFailed = false;
  uint64_t stopSignalsSent = 0;  // bit n: signal n
  uint64_t nextExec = 0;
  int64_t createdAtNs = 0;
  int64_t startedAtNs = 0;
  ExitRecord exit;
  kj::Maybe<FailureValue> startFailure;

  kj::Own<kj::PromiseFulfiller<void>> exitedFulfiller;
  kj::ForkedPromise<void> exited;
  kj::Maybe<kj::ForkedPromise<void>> starting;
  kj::Maybe<kj::ForkedPromise<void>> removing;
  kj::TaskSet tasks;
};

}  // namespace belay::shim
