// What the CRI edge asks of the supervisor: pods, containers and images by the CRI's verbs, in the
// schema structs of model.capnp. One implementation (`RuntimeImpl`), one caller (`criapi/`).
//
// Rules for all calls:
//  - A failure is a kj::Exception made by belay::snapshot::failure(): it carries a code and a
//  sentence.
//  - Ids are full ids or unambiguous prefixes of them. Unknown ids are NOT_FOUND, except where the
//  CRI
//    says that a call is idempotent (Stop*, Remove*: done).
//  - Dropping a promise stops the waiting, not the work: an operation that has begun goes on to its
//    end, and a repeated request joins it and gets its result.
#pragma once

#include <kj/async.h>
#include <kj/map.h>

#include "snapshot/image.capnp.h"
#include "supervisor/model.capnp.h"
#include "supervisor/owned.h"

namespace belay::supervisor {

// A container as it is to be reported.
struct ContainerView {
  Owned<ContainerRecord> record;
  // CREATED, RUNNING, EXITED, or UNKNOWN when its shim does not answer.
  enum class State { CREATED, RUNNING, EXITED, UNKNOWN } state;
};

// A pod as it is to be reported.
struct PodView {
  Owned<PodRecord> record;
  bool ready;
};

struct FilesystemUsage {
  int64_t timestampNs;
  kj::String mountpoint;
  uint64_t usedBytes;
  uint64_t inodesUsed;
};

// What a container that runs uses.
struct ContainerUsageView {
  Owned<ContainerRecord> record;
  Owned<shim::CgroupUsage> usage;
  kj::Maybe<FilesystemUsage> layer;  // null until it was measured for the first time
};

// What a pod that is ready uses, and those of its containers that run.
struct PodUsageView {
  Owned<PodRecord> record;
  Owned<shim::PodUsage> usage;
  kj::Array<ContainerUsageView> containers;
};

struct ExecResult {
  int exitCode;
  kj::AutoCloseFd output;  // memory file, positioned anywhere: read with pread from 0 to its size
  kj::AutoCloseFd errors;
};

// The standard streams that a client of an exec or attach wants.
struct StreamSet {
  bool in = false;
  bool out = false;
  bool err = false;
};

struct Condition {
  kj::String type;  // "RuntimeReady", "NetworkReady"
  bool status;
  kj::String reason;
  kj::String message;
};

struct HandlerView {
  kj::String name;
  bool recursiveReadOnlyMounts;
  bool userNamespaces;
};

struct RuntimeStatus {
  kj::Array<Condition> conditions;
  kj::Array<HandlerView> handlers;
  bool supplementalGroupsPolicy;
  bool userNamespacesHostNetwork;
  kj::String configJson;  // verbose info "config"
};

struct PullCredentials {
  kj::String username, password, auth, serverAddress, identityToken, registryToken;
};

class Runtime {
 public:
  virtual ~Runtime() noexcept(false) = default;

  // --- identity
  // Adapted to what the client asks; `verbose` fills configJson.
  virtual kj::Promise<RuntimeStatus> status(bool verbose) = 0;
  virtual bool systemdCgroupDriver() = 0;

  // --- pods
  virtual kj::Promise<kj::String> runPodSandbox(Owned<PodConfig> config, kj::String handler) = 0;
  virtual kj::Promise<void> stopPodSandbox(kj::String id) = 0;
  virtual kj::Promise<void> removePodSandbox(kj::String id) = 0;
  // Remembers the pod's resources, those that are given, in place of the earlier ones. Nothing is
  // written to the pod's cgroup: whoever calls this owns it and has done so.
  virtual kj::Promise<void> updatePodSandboxResources(
      kj::String id, kj::Maybe<Owned<LinuxResources>> overhead,
      kj::Maybe<Owned<LinuxResources>> resources) = 0;
  virtual PodView podSandbox(kj::StringPtr id) = 0;
  virtual kj::Array<PodView> podSandboxes() = 0;

  // --- containers
  virtual kj::Promise<kj::String> createContainer(kj::String podId, Owned<ContainerConfig> config,
                                                  Owned<PodConfig> podConfig) = 0;
  virtual kj::Promise<void> startContainer(kj::String id) = 0;
  // timeoutSeconds 0 kills at once; negative counts as 0.
  virtual kj::Promise<void> stopContainer(kj::String id, int64_t timeoutSeconds) = 0;
  virtual kj::Promise<void> removeContainer(kj::String id) = 0;
  // Changes what `change` sets (not 0, not empty), in all or, on failure, in nothing.
  virtual kj::Promise<void> updateContainerResources(kj::String id,
                                                     Owned<LinuxResources> change) = 0;
  virtual ContainerView container(kj::StringPtr id) = 0;
  virtual kj::Array<ContainerView> containers() = 0;
  // timeoutSeconds 0: no limit. A time-out is DEADLINE_EXCEEDED.
  virtual kj::Promise<ExecResult> execSync(kj::String id, kj::Array<kj::String> command,
                                           int64_t timeoutSeconds) = 0;
  virtual kj::Promise<void> reopenContainerLog(kj::String id) = 0;

  // --- usage
  // What is wanted and does not run (is not ready) is left out, as is what a shim does not tell
  // within two seconds. In no order.
  virtual kj::Promise<kj::Array<ContainerUsageView>> containerUsage(
      kj::Array<ContainerView> wanted) = 0;
  virtual kj::Promise<kj::Array<PodUsageView>> podUsage(kj::Array<PodView> wanted) = 0;

  // --- streams: each gives a session's socket to the pod's shim (shim/session.capnp)
  virtual kj::Promise<kj::AutoCloseFd> exec(kj::String id, kj::Array<kj::String> command,
                                            bool terminal, StreamSet streams) = 0;
  // Of a container with a terminal there is no stderr; whoever asks for it does not get it.
  virtual kj::Promise<kj::AutoCloseFd> attach(kj::String id, StreamSet streams) = 0;
  virtual kj::Promise<kj::AutoCloseFd> portForward(kj::String podId) = 0;

  // --- images
  virtual kj::Promise<kj::String> pullImage(kj::String reference, PullCredentials credentials) = 0;
  virtual kj::Promise<void> removeImage(kj::String reference) = 0;
  // By id, short id, tag, digest, or name without tag.
  virtual kj::Maybe<Owned<snapshot::Image>> image(kj::StringPtr reference) = 0;
  virtual kj::Array<Owned<snapshot::Image>> images() = 0;
  virtual kj::Promise<FilesystemUsage> imageFilesystem() = 0;
};

}  // namespace belay::supervisor
