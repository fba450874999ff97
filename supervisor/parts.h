// What the managers work with: one of each, made by main, outliving them all.
#pragma once

#include <kj/async-io.h>
#include <kj/async-unix.h>
#include <kj/timer.h>

#include "snapshot/puller.h"
#include "snapshot/snapshotter.h"
#include "snapshot/store.h"
#include "supervisor/cgroups.h"
#include "supervisor/cni/cni.h"
#include "supervisor/config/config.h"
#include "supervisor/database.h"
#include "supervisor/held-descriptors.h"
#include "supervisor/inventory.h"
#include "supervisor/operation.h"
#include "supervisor/pod-folders.h"
#include "supervisor/pod-scopes.h"
#include "supervisor/shim-launcher.h"
#include "supervisor/spec/seccomp.h"
#include "supervisor/spec/spec.h"

namespace belay::supervisor {

struct Parts {
  const Config& config;
  const SpecOptions& specOptions;
  kj::LowLevelAsyncIoProvider& io;
  kj::UnixEventPort& port;
  kj::Timer& timer;
  Database& database;
  HeldDescriptors& held;
  Inventory& inventory;
  Operations& operations;
  Cgroups& cgroups;
  PodScopes& scopes;
  PodFolders& folders;
  ShimLauncher& launcher;
  Cni& cni;
  SeccompFilters& seccomp;
  snapshot::Store& store;
  snapshot::Snapshotter& snapshotter;
  snapshot::Puller& puller;
};

}  // namespace belay::supervisor
