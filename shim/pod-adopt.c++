// Implementation of pod.h: a pod that was another shim's.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <unistd.h>

#include "failpoint/failpoint.h"
#include "shim/failure.h"
#include "shim/pod.h"
#include "shim/port-forward.h"
#include "shim/record.h"

namespace belay::shim {
namespace {

constexpr kj::StringPtr STEP = "adopt pod"_kj;

kj::Vector<kj::String> foldersOf(int dirFd) {
  kj::Vector<kj::String> names;
  int fd;
  KJ_SYSCALL(fd = openat(dirFd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  DIR* listing = fdopendir(fd);
  if (listing == nullptr) {
    int error = errno;
    close(fd);
    KJ_FAIL_SYSCALL("fdopendir", error);
  }
  KJ_DEFER(closedir(listing));
  while (dirent* entry = readdir(listing)) {
    if (entry->d_type == DT_DIR) names.add(kj::str(entry->d_name));
  }
  return names;
}

}  // namespace

kj::Promise<kj::Maybe<FailureValue>> Pod::adopt() {
  auto refuse = [&](kj::StringPtr reason) {
    return kj::Maybe<FailureValue>(
        plainFailure(Failure::Code::FAILED_PRECONDITION, STEP, id, reason));
  };
  if (removing) co_return refuse("it is being removed");
  if (creation == nullptr || creationFailure != nullptr) {
    auto message = readRecord(dirFd, STATE_FILE);
    if (message == nullptr) co_return refuse("no shim has left a record of it");
    auto& reader = KJ_ASSERT_NONNULL(message);
    auto record = reader->getRoot<ShimRecord>();
    if (record.getBootId() != bootId) co_return refuse("the machine was restarted since");
    if (record.getProtocolVersion() > PROTOCOL_VERSION) {
      co_return refuse(kj::str("its shim was a newer one, of protocol version ",
                               record.getProtocolVersion(), "; this one's is ", PROTOCOL_VERSION));
    }
    if (record.getSpec().getId() != id) co_return refuse("the record is another pod's");
    begin(takeOver(record).attach(kj::mv(reader)), STEP);
  }
  co_return co_await whenBegun();
}

kj::Promise<kj::Maybe<FailureValue>> Pod::takeOver(ShimRecord::Reader record) {
  specMessage = kj::heap<capnp::MallocMessageBuilder>();
  specMessage->setRoot(record.getSpec());
  podNamespaces = openPodNamespaces(shimContext.engine, getSpec());
  CO_FAILPOINT(shimContext.engine.timer, "shim.adopt/after-namespaces");
  cgroup = Cgroup::open(shimContext.engine.cgroups, getSpec().getCgroupPath());
  madeCgroup = record.getMadeCgroup();
  createdAtNs = record.getPod().getCreatedAtNs();
  ownGeneration = record.getGeneration() + 1;
  for (auto state : record.getPod().getContainers())
    co_await restoreContainer(state);
  CO_FAILPOINT(shimContext.engine.timer, "shim.adopt/after-containers");
  claimLeftovers();
  co_await becomeCreated();
  CO_FAILPOINT(shimContext.engine.timer, "shim.adopt/after-record");
  co_return nullptr;
}

void Pod::handOver(Handover::Builder handover) {
  writePodRecord();
  handover.setProtocolVersion(PROTOCOL_VERSION);
  kj::Vector<PodContainer::Descriptor> descriptors;
  for (auto& container : all()) {
    for (auto& descriptor : container->descriptors())
      descriptors.add(kj::mv(descriptor));
  }
  auto list = handover.initDescriptors(descriptors.size());
  for (uint i : kj::indices(descriptors)) {
    list[i].setName(descriptors[i].name);
    list[i].setNumber(descriptors[i].fd);
  }
  auto described = handover.initSessions(shimContext.sessions.size());
  uint i = 0;
  for (auto& session : shimContext.sessions.all())
    session.handOver(described[i++]);
}

kj::Promise<kj::Maybe<FailureValue>> Pod::resume(Handover::Reader handover) {
  // Until all have said whose end they wait for.
  Reaper::Hold hold(shimContext.reaper);
  for (auto descriptor : handover.getDescriptors())
    inherited.add(descriptor.getName(), kj::AutoCloseFd(descriptor.getNumber()));
  auto failure = co_await adopt();
  if (failure == nullptr) {
    for (auto session : handover.getSessions())
      resumeSession(session);
  }
  co_return failure;
}

void Pod::resumeSession(Handover::Session::Reader state) {
  if (state.isPortForward()) {
    keepSession(
        servePortForward(shimContext, kj::AutoCloseFd(state.getSocket()), podNamespaces.net));
    return;
  }
  KJ_IF_MAYBE (container, find(state.getContainerId())) container->resumeSession(state);
}

// One that cannot be restored does not keep the others from it.
kj::Promise<void> Pod::restoreContainer(ContainerState::Reader state) {
  auto spec = PodContainer::readSpec(dirFd, state.getId());
  if (spec == nullptr) co_return;  // it was half removed
  auto reader = KJ_ASSERT_NONNULL(spec)->getRoot<ContainerSpec>();
  auto entry = kj::refcounted<Entry>(kj::refcounted<PodContainer>(*this, reader));
  auto restored = co_await asFailure(entry->container->restore(reader, state, inherited).then([]() {
    return kj::Maybe<FailureValue>();
  }),
                                     "take over container"_kj, state.getId());
  KJ_IF_MAYBE (failure, restored) {
    KJ_LOG(ERROR, "a container is given up", failure->message);
    beginLeaving(kj::addRef(*entry->container));
    co_return;
  }
  entry->preparing = kj::Promise<void>(kj::READY_NOW).fork();
  containers.insert(kj::str(state.getId()), kj::mv(entry));
}

// What the predecessor was in the middle of making or removing: nobody was told that it is there.
void Pod::claimLeftovers() {
  for (auto& name : foldersOf(dirFd)) {
    if (findFault(name) != nullptr || containers.find(name) != nullptr) continue;
    if (leaving.find(name) != nullptr) continue;
    capnp::MallocMessageBuilder empty;
    auto found = PodContainer::readSpec(dirFd, name);
    auto spec = empty.initRoot<ContainerSpec>();
    spec.setId(name);
    // Without a spec it had no cgroup yet, or none any more.
    KJ_IF_MAYBE (message, found) {
      spec.setCgroupPath((*message)->getRoot<ContainerSpec>().getCgroupPath());
    }
    auto container = kj::refcounted<PodContainer>(*this, spec.asReader());
    container->claimLeftover();
    beginLeaving(kj::mv(container));
  }
}

}  // namespace belay::shim
