// Tests of reconcile.h: a new belayd meets fake shims, dead ones, half-made pods and strays. Needs
// root: pods have cgroups.
#include "supervisor/reconcile.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <kj/debug.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot/failure.h"
#include "snapshot/overlay-snapshotter.h"
#include "snapshot/sys/boot.h"
#include "supervisor/fake-shim.h"
#include "supervisor/runtime-impl.h"

namespace belay::supervisor {
namespace {

const kj::String THIS_BOOT = snapshot::bootId();
constexpr auto ANOTHER_BOOT = "00000000-1111-2222-3333-444444444444"_kj;

kj::String temporaryFolder() {
  // Short: a socket's path must fit.
  auto pattern = kj::str("/tmp/belay-reconcile-XXXXXX");
  KJ_ASSERT(mkdtemp(pattern.begin()) != nullptr);
  return pattern;
}

Config configFor(kj::StringPtr folder) {
  auto config = defaultConfig("/nowhere");
  config.root = kj::str(folder, "/root");
  config.state = kj::str(folder, "/state");
  config.cniConfDir = kj::str(folder, "/net.d");
  config.cgroupRoot = kj::str("belay-reconcile-test-", getpid());
  KJ_SYSCALL(mkdir(config.root.cStr(), 0700));
  return config;
}

// A belayd without sockets, on what a former one left in `folder`.
struct Successor {
  Successor(kj::AsyncIoContext& io, const Config& config, kj::Duration shimDeadline)
      : children(io.unixEventPort),
        helpers(children, *io.lowLevelProvider, config.pullPath),
        database(config.root),
        store(kj::str(config.root, "/content"), helpers),
        snapshotter(
            snapshot::newOverlaySnapshotter(kj::str(config.root, "/overlay"), store, helpers)),
        puller(store, helpers, {}),
        specs(specOptions(config)),
        seccomp(nullptr),
        cgroups(config.cgroupRoot),
        scopes(config.shimPath, children, cgroups, io.provider->getTimer()),
        folders(config.state),
        launcher(config.shimPath, children, cgroups),
        cni({.confDir = kj::str(config.cniConfDir), .marks = kj::str(config.root, "/attachments")},
            children, io.provider->getTimer()),
        inventory(database, held),
        operations(io.provider->getTimer()),
        parts{config,
              specs,
              *io.lowLevelProvider,
              io.unixEventPort,
              io.provider->getTimer(),
              database,
              held,
              inventory,
              operations,
              cgroups,
              scopes,
              folders,
              launcher,
              cni,
              seccomp,
              store,
              *snapshotter,
              puller},
        runtime(parts, shimDeadline) {}

  snapshot::Children children;
  snapshot::Helpers helpers;
  Database database;
  snapshot::Store store;
  kj::Own<snapshot::Snapshotter> snapshotter;
  snapshot::Puller puller;
  SpecOptions specs;
  SeccompFilters seccomp;
  Cgroups cgroups;
  PodScopes scopes;
  PodFolders folders;
  ShimLauncher launcher;
  Cni cni;
  HeldDescriptors held;
  Inventory inventory;
  Operations operations;
  Parts parts;
  RuntimeImpl runtime;
};

class ReconcileTest : public testing::Test {
 public:
  ReconcileTest() : folder(temporaryFolder()), config(configFor(folder)) {}
  ~ReconcileTest() noexcept override = default;

 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root: pods have cgroups";
    KJ_IF_MAYBE (exception,
                 kj::runCatchingExceptions([&] { Cgroups cgroups(config.cgroupRoot); })) {
      GTEST_SKIP() << "needs cgroups: " << exception->getDescription().cStr();
    }
    database = kj::heap<Database>(config.root);
    folders = kj::heap<PodFolders>(config.state);
  }

  void TearDown() override {
    if (folders.get() == nullptr) return;
    Cgroups(config.cgroupRoot)
        .destroy(kj::str(config.cgroupRoot), io.provider->getTimer())
        .wait(io.waitScope);
  }

  // --- what the former belayd wrote

  void recordPod(kj::StringPtr id, PodStage stage, kj::StringPtr boot = THIS_BOOT) {
    database->put(Owned<PodRecord>::make([&](PodRecord::Builder record) {
      record.setId(id);
      record.setStage(stage);
      record.setBootId(boot);
      record.initConfig().setName(id);
      record.initSpec().setCgroupPath(kj::str('/', config.cgroupRoot, "/pods/", id));
    }));
  }
  void recordContainer(kj::StringPtr podId, kj::StringPtr id, bool creating = false) {
    database->put(Owned<ContainerRecord>::make([&](ContainerRecord::Builder record) {
      record.setId(id);
      record.setPodId(podId);
      record.setCreating(creating);
      record.initConfig().setName(id);
    }));
  }
  kj::String makeFolder(kj::StringPtr podId) {
    folders->make(podId);
    return folders->pathOf(podId);
  }

  // As a shim leaves it in its pod's folder.
  template <typename Fill>
  void writeShimRecord(kj::StringPtr podFolder, Fill&& fill) {
    auto record = Owned<shim::ShimRecord>::make(kj::fwd<Fill>(fill));
    int file;
    KJ_SYSCALL(file =
                   open(kj::str(podFolder, "/state").cStr(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    auto bytes = record.bytes();
    kj::FdOutputStream(kj::AutoCloseFd(file)).write(bytes.begin(), bytes.size());
  }

  // --- what the new one finds

  Successor& start(kj::Duration shimDeadline = 10 * kj::SECONDS) {
    database = nullptr;
    successor = kj::heap<Successor>(io, config, shimDeadline);
    successor->runtime.reconcile().wait(io.waitScope);
    return *successor;
  }
  template <typename Condition>
  void waitUntil(Condition&& condition) {
    auto& timer = io.provider->getTimer();
    auto deadline = timer.now() + 20 * kj::SECONDS;
    while (!condition()) {
      ASSERT_LT(timer.now(), deadline);
      timer.afterDelay(2 * kj::MILLISECONDS).wait(io.waitScope);
    }
  }
  ContainerView::State stateIn(Successor& belayd, kj::StringPtr id) {
    return belayd.runtime.container(id).state;
  }

  kj::AsyncIoContext io = kj::setupAsyncIo();
  kj::String folder;
  Config config;
  kj::Own<Database> database;
  kj::Own<PodFolders> folders;
  kj::Own<Successor> successor;
};

TEST_F(ReconcileTest, TakesOverWhatHappenedMeanwhile) {
  recordPod("p", PodStage::READY);
  recordContainer("p", "running");
  recordContainer("p", "exited");
  recordContainer("p", "vanished");
  FakeShimProcess shim(makeFolder("p"), [](FakeShim& fake) {
    fake.containers.add(stateOf("running", shim::Stage::RUNNING));
    fake.containers.add(stateOf("exited", shim::Stage::EXITED, 42));
  });
  auto& belayd = start();
  EXPECT_TRUE(belayd.runtime.podSandbox("p").ready);
  EXPECT_EQ(ContainerView::State::RUNNING, stateIn(belayd, "running"));
  auto exited = belayd.runtime.container("exited");
  EXPECT_EQ(ContainerView::State::EXITED, exited.state);
  EXPECT_EQ(42, exited.record.get().getLast().getExit().getCode());
  EXPECT_EQ(3, exited.record.get().getLast().getExit().getFinishedAtNs());
  auto vanished = belayd.runtime.container("vanished");
  EXPECT_EQ(ContainerView::State::EXITED, vanished.state);
  EXPECT_FALSE(vanished.record.get().getLast().getExit().getKnown());
  EXPECT_STREQ("", shim.calls().cStr());
}

TEST_F(ReconcileTest, UndoesAPodInTheMaking) {
  recordPod("p", PodStage::CREATING);
  FakeShimProcess shim(makeFolder("p"), [](FakeShim&) {});
  auto& belayd = start();
  EXPECT_EQ(0u, belayd.runtime.podSandboxes().size());
  waitUntil([&] { return !belayd.inventory.knowsPod("p"); });
  EXPECT_TRUE(shim.hasEnded());
  EXPECT_STREQ("remove pod\n", shim.calls().cStr());
  EXPECT_TRUE(belayd.folders.open("p") == nullptr);
  EXPECT_EQ(0u, belayd.database.pods().size());
}

TEST_F(ReconcileTest, UndoesAPodWhoseShimNeverStarted) {
  recordPod("p", PodStage::CREATING);
  recordPod("q", PodStage::CREATING);
  makeFolder("q");
  auto& belayd = start();
  waitUntil([&] { return !belayd.inventory.knowsPod("p") && !belayd.inventory.knowsPod("q"); });
  EXPECT_EQ(0u, belayd.folders.list().size());
}

TEST_F(ReconcileTest, FinishesStoppingAndRemoving) {
  recordPod("stopping", PodStage::STOPPING);
  recordContainer("stopping", "c");
  recordPod("removing", PodStage::REMOVING);
  FakeShimProcess one(makeFolder("stopping"), [](FakeShim& fake) {
    fake.containers.add(stateOf("c", shim::Stage::RUNNING));
  });
  FakeShimProcess other(makeFolder("removing"), [](FakeShim&) {});
  auto& belayd = start();
  waitUntil([&] { return !belayd.inventory.knowsPod("removing"); });
  waitUntil([&] {
    return belayd.runtime.podSandbox("stopping").record.get().getStage() == PodStage::NOT_READY;
  });
  EXPECT_STREQ("stop c signal 9\n", one.calls().cStr());
  EXPECT_EQ(ContainerView::State::EXITED, stateIn(belayd, "c"));
  EXPECT_FALSE(one.hasEnded());
}

TEST_F(ReconcileTest, RemovesHalfMadeAndUnknownContainers) {
  recordPod("p", PodStage::READY);
  recordContainer("p", "half", true);
  FakeShimProcess shim(makeFolder("p"), [](FakeShim& fake) {
    fake.containers.add(stateOf("half", shim::Stage::CREATED));
    fake.containers.add(stateOf("stranger", shim::Stage::RUNNING));
  });
  auto& belayd = start();
  EXPECT_EQ(0u, belayd.runtime.containers().size());
  waitUntil([&] { return !belayd.inventory.knowsContainer("half"); });
  waitUntil([&] { return strstr(shim.calls().cStr(), "remove stranger\n") != nullptr; });
  EXPECT_NE(nullptr, strstr(shim.calls().cStr(), "remove half\n"));
  EXPECT_TRUE(belayd.runtime.podSandbox("p").ready);
}

TEST_F(ReconcileTest, ReadsWhatADeadShimWroteDown) {
  recordPod("p", PodStage::READY);
  recordContainer("p", "exited");
  recordContainer("p", "maybe");
  auto path = makeFolder("p");
  writeShimRecord(path, [](shim::ShimRecord::Builder record) {
    record.setBootId(THIS_BOOT);
    auto containers = record.initPod().initContainers(1);
    containers.setWithCaveats(0, stateOf("exited", shim::Stage::EXITED, 9).get());
  });
  auto& belayd = start();
  auto pod = belayd.runtime.podSandbox("p");
  EXPECT_FALSE(pod.ready);
  EXPECT_EQ(PodStage::NOT_READY, pod.record.get().getStage());
  EXPECT_EQ(9, belayd.runtime.container("exited").record.get().getLast().getExit().getCode());
  EXPECT_EQ(ContainerView::State::UNKNOWN, stateIn(belayd, "maybe"));
  // It can be stopped and removed.
  belayd.runtime.stopPodSandbox(kj::str("p")).wait(io.waitScope);
  EXPECT_EQ(ContainerView::State::EXITED, stateIn(belayd, "maybe"));
  belayd.runtime.removePodSandbox(kj::str("p")).wait(io.waitScope);
  EXPECT_EQ(0u, belayd.folders.list().size());
}

TEST_F(ReconcileTest, AfterARebootPodsAreStoppedAndContainersHaveExited) {
  recordPod("p", PodStage::READY, ANOTHER_BOOT);
  recordContainer("p", "c");
  recordContainer("p", "half", true);
  auto& belayd = start();
  EXPECT_FALSE(belayd.runtime.podSandbox("p").ready);
  auto container = belayd.runtime.container("c");
  EXPECT_EQ(ContainerView::State::EXITED, container.state);
  auto exit = container.record.get().getLast().getExit();
  EXPECT_EQ(255, exit.getCode());
  EXPECT_STREQ("NodeRestarted", exit.getReason().cStr());
  waitUntil([&] { return !belayd.inventory.knowsContainer("half"); });
  belayd.runtime.stopPodSandbox(kj::str("p")).wait(io.waitScope);
  EXPECT_EQ(PodStage::NOT_READY, belayd.runtime.podSandbox("p").record.get().getStage());
  belayd.runtime.removePodSandbox(kj::str("p")).wait(io.waitScope);
  EXPECT_EQ(0u, belayd.runtime.podSandboxes().size());
}

// A state folder on a disk: what lives by its records are strangers with the same numbers.
TEST_F(ReconcileTest, ARebootLeavesNothingAliveWhateverTheStateFolderSays) {
  recordPod("p", PodStage::READY, ANOTHER_BOOT);
  recordContainer("p", "running");
  recordContainer("p", "exited");
  auto path = makeFolder("p");
  writeShimRecord(path, [](shim::ShimRecord::Builder record) {
    record.setBootId(ANOTHER_BOOT);
    record.setShimPid(getpid());
    auto containers = record.initPod().initContainers(2);
    containers.setWithCaveats(0, stateOf("running", shim::Stage::RUNNING).get());
    containers[0].setPid(getpid());
    containers.setWithCaveats(1, stateOf("exited", shim::Stage::EXITED, 9).get());
  });
  FakeShimProcess stranger(
      path, [](FakeShim& fake) { fake.containers.add(stateOf("running", shim::Stage::RUNNING)); });
  auto& belayd = start();
  EXPECT_FALSE(belayd.runtime.podSandbox("p").ready);
  EXPECT_EQ(ContainerView::State::EXITED, stateIn(belayd, "running"));
  EXPECT_EQ(255, belayd.runtime.container("running").record.get().getLast().getExit().getCode());
  EXPECT_EQ(9, belayd.runtime.container("exited").record.get().getLast().getExit().getCode());
  EXPECT_TRUE(belayd.folders.open("p") == nullptr);
  belayd.runtime.removePodSandbox(kj::str("p")).wait(io.waitScope);
  EXPECT_STREQ("", stranger.calls().cStr());
  EXPECT_FALSE(stranger.hasEnded());
}

TEST_F(ReconcileTest, FinishesAfterARebootWhatWasBegunBefore) {
  recordPod("making", PodStage::CREATING, ANOTHER_BOOT);
  recordPod("removing", PodStage::REMOVING, ANOTHER_BOOT);
  recordPod("stopping", PodStage::STOPPING, ANOTHER_BOOT);
  recordPod("stopped", PodStage::NOT_READY, ANOTHER_BOOT);
  for (auto id : {"making", "removing", "stopping", "stopped"})
    makeFolder(id);
  auto& belayd = start();
  waitUntil([&] {
    return !belayd.inventory.knowsPod("making") && !belayd.inventory.knowsPod("removing");
  });
  for (auto id : {"stopping", "stopped"}) {
    waitUntil([&] {
      return belayd.runtime.podSandbox(id).record.get().getStage() == PodStage::NOT_READY;
    });
  }
  EXPECT_EQ(0u, belayd.folders.list().size());
}

// What lists it would not pull it again, and what uses it would find nothing.
TEST_F(ReconcileTest, AfterARebootAnImageIsForgottenThatLostItsContent) {
  auto id = kj::str("sha256:", kj::repeat('a', 64));
  database->put(Owned<snapshot::Image>::make([&](snapshot::Image::Builder image) {
    image.setId(id);
    image.initBlobs(1).set(0, id);
  }));
  auto& belayd = start();
  EXPECT_EQ(0u, belayd.runtime.images().size());
  EXPECT_EQ(0u, belayd.database.images().size());
}

TEST_F(ReconcileTest, APodWhoseFolderIsGoneIsNotReady) {
  recordPod("p", PodStage::READY);
  recordContainer("p", "c");
  auto& belayd = start();
  EXPECT_FALSE(belayd.runtime.podSandbox("p").ready);
  EXPECT_EQ(ContainerView::State::EXITED, stateIn(belayd, "c"));
  belayd.runtime.removePodSandbox(kj::str("p")).wait(io.waitScope);
  EXPECT_EQ(0u, belayd.runtime.podSandboxes().size());
}

TEST_F(ReconcileTest, ASilentShimDelaysNobodyAndIsMetWhenItSpeaks) {
  recordPod("silent", PodStage::READY);
  recordContainer("silent", "c");
  recordPod("p", PodStage::READY);
  recordContainer("p", "d");
  FakeShimProcess silent(makeFolder("silent"), [](FakeShim& fake) {
    fake.containers.add(stateOf("c", shim::Stage::RUNNING));
  });
  FakeShimProcess shim(makeFolder("p"), [](FakeShim& fake) {
    fake.containers.add(stateOf("d", shim::Stage::RUNNING));
  });
  silent.signal(SIGSTOP);
  auto& belayd = start(100 * kj::MILLISECONDS);
  waitUntil([&] { return stateIn(belayd, "d") == ContainerView::State::RUNNING; });
  EXPECT_EQ(ContainerView::State::UNKNOWN, stateIn(belayd, "c"));
  silent.signal(SIGCONT);
  waitUntil([&] { return stateIn(belayd, "c") == ContainerView::State::RUNNING; });
}

TEST_F(ReconcileTest, AShimThatStaysSilentIsKilled) {
  recordPod("silent", PodStage::READY);
  recordContainer("silent", "c");
  FakeShimProcess silent(makeFolder("silent"), [](FakeShim&) {});
  silent.signal(SIGSTOP);
  auto& belayd = start(10 * kj::MILLISECONDS);
  EXPECT_TRUE(belayd.runtime.podSandbox("silent").ready);
  waitUntil([&] { return silent.hasEnded(); });
  // There is no program here that could take over.
  waitUntil([&] { return !belayd.runtime.podSandbox("silent").ready; });
}

TEST_F(ReconcileTest, AShimThatDiesLaterMakesItsPodNotReady) {
  recordPod("p", PodStage::READY);
  recordContainer("p", "c");
  FakeShimProcess shim(makeFolder("p"), [](FakeShim& fake) {
    fake.containers.add(stateOf("c", shim::Stage::RUNNING));
  });
  auto& belayd = start();
  shim.signal(SIGKILL);
  waitUntil([&] { return !belayd.runtime.podSandbox("p").ready; });
  EXPECT_EQ(ContainerView::State::UNKNOWN, stateIn(belayd, "c"));
  auto exception = KJ_ASSERT_NONNULL(kj::runCatchingExceptions([&] {
    belayd.runtime.execSync(kj::str("c"), kj::arr(kj::str("true")), 0).wait(io.waitScope);
  }));
  EXPECT_EQ(snapshot::Code::UNAVAILABLE, snapshot::codeOf(exception));
}

TEST_F(ReconcileTest, SweepsWhatBelongsToNobody) {
  recordContainer("gone", "homeless");
  makeFolder("stray");
  auto& belayd = start();
  waitUntil([&] { return belayd.folders.list().size() == 0; });
  EXPECT_EQ(0u, belayd.database.containers().size());
}

}  // namespace
}  // namespace belay::supervisor
