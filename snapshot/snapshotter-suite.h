// What every snapshotter must do, whatever it is made of: include this in a test, and instantiate
// the suite with a factory for each. Mounts are real where the test is root.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <functional>

#include "snapshot/snapshotter.h"
#include "snapshot/testing/store-fixture.h"

namespace belay::snapshot {

// Makes the snapshotter under test in a folder that is its own.
using SnapshotterFactory =
    std::function<kj::Own<Snapshotter>(kj::StringPtr path, Store& store, Helpers& helpers)>;

struct SnapshotterParam {
  const char* name;
  SnapshotterFactory make;
};

class SnapshotterSuite : public StoreFixture,
                         public ::testing::WithParamInterface<SnapshotterParam> {
 public:
  ~SnapshotterSuite() noexcept override {}

  void SetUp() override {
    openStore();
    restart();
    base = makeLayer("base", 0755);
    top = makeLayer("top", 0751);
  }

  void TearDown() override {
    if (snapshotter.get() != nullptr) snapshotter->whenTrashIsEmpty().wait(io.waitScope);
    snapshotter = nullptr;
    StoreFixture::TearDown();
  }

  void restart() {
    snapshotter = nullptr;
    snapshotter = GetParam().make(kj::str(folder.path(), "/snapshotter"), *store, helpers);
  }

  // A layer with a file "common" and one "NAME", whose root folder has this mode.
  Digest makeLayer(kj::StringPtr name, mode_t mode) {
    auto chainId = Digest::of(name.asBytes());
    auto staging = store->newStaging();
    writeNewFile(staging->folder(), name, name, 0644);
    writeNewFile(staging->folder(), "common", name, 0644);
    KJ_SYSCALL(fchmod(staging->folder(), mode));
    store->commitLayer(*staging, chainId, Usage{.bytes = 100, .inodes = 3});
    return chainId;
  }

  // Mounts as the shim's helper does, in a child with a mount namespace of its own, and runs
  // `inside` there with a descriptor of the root folder. Its failures are this test's.
  void inMounted(const RootfsMount& mount, std::function<void(int)> inside) {
    pid_t pid = fork();
    KJ_ASSERT(pid >= 0);
    if (pid == 0) {
      KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() { inside(mountAlone(mount)); })) {
        ADD_FAILURE() << kj::str(*exception).cStr();
      }
      _exit(HasFailure() ? 1 : 0);
    }
    int status;
    KJ_SYSCALL(waitpid(pid, &status, 0));
    EXPECT_EQ(status, 0);
  }

  Snapshotter::Snapshot* findIn(kj::ArrayPtr<Snapshotter::Snapshot> list, kj::StringPtr key) {
    for (auto& snapshot : list) {
      if (snapshot.key == key) return &snapshot;
    }
    return nullptr;
  }

  template <typename Function>
  static Code codeThrown(Function&& function) {
    KJ_IF_MAYBE (exception, kj::runCatchingExceptions(kj::fwd<Function>(function))) {
      return codeOf(*exception);
    }
    ADD_FAILURE() << "nothing was thrown";
    return Code::INTERNAL;
  }

  kj::Own<Snapshotter> snapshotter;
  Digest base = Digest::of(nullptr);
  Digest top = Digest::of(nullptr);

 private:
  static kj::AutoCloseFd mountAlone(const RootfsMount& mount) {
    KJ_SYSCALL(unshare(CLONE_NEWNS));
    KJ_SYSCALL(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr));
    int number;
    KJ_SYSCALL(number = fsopen("overlay", FSOPEN_CLOEXEC));
    kj::AutoCloseFd context(number);
    auto set = [&](kj::StringPtr key, kj::StringPtr value) {
      KJ_SYSCALL(fsconfig(context, FSCONFIG_SET_STRING, key.cStr(), value.cStr(), 0), key, value);
    };
    for (auto& lower : mount.lower)
      set("lowerdir+", lower);
    set("upperdir", mount.upper);
    set("workdir", mount.work);
    for (auto& option : mount.options) {
      KJ_IF_MAYBE (equals, option.findFirst('=')) {
        set(kj::heapString(option.slice(0, *equals)), option.slice(*equals + 1));
      } else {
        KJ_SYSCALL(fsconfig(context, FSCONFIG_SET_FLAG, option.cStr(), nullptr, 0), option);
      }
    }
    KJ_SYSCALL(fsconfig(context, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0));
    KJ_SYSCALL(number = fsmount(context, FSMOUNT_CLOEXEC, 0));
    return kj::AutoCloseFd(number);
  }
};

TEST_P(SnapshotterSuite, ShowsTheLayersTopmostFirst) {
  BELAY_REQUIRE_ROOT();
  auto mount = snapshotter->prepare("one", kj::arr(base, top));
  inMounted(mount, [](int root) {
    EXPECT_EQ(KJ_ASSERT_NONNULL(tryReadFile(root, "common", 100)), "top");
    EXPECT_EQ(KJ_ASSERT_NONNULL(tryReadFile(root, "base", 100)), "base");
    struct stat stats;
    KJ_SYSCALL(fstat(root, &stats));
    EXPECT_EQ(stats.st_mode & 07777, 0751);
  });
}

TEST_P(SnapshotterSuite, WritesStayInTheSnapshot) {
  BELAY_REQUIRE_ROOT();
  auto mount = snapshotter->prepare("one", kj::arr(base, top));
  inMounted(mount, [](int root) {
    KJ_SYSCALL(unlinkat(root, "base", 0));
    KJ_SYSCALL(unlinkat(root, "common", 0));
    writeNewFile(root, "common", "changed", 0644);
    makeFolder(root, "new", 0755);
  });
  inMounted(snapshotter->prepare("two", kj::arr(base, top)), [](int root) {
    EXPECT_EQ(KJ_ASSERT_NONNULL(tryReadFile(root, "common", 100)), "top");
    EXPECT_TRUE(tryStat(root, "base") != nullptr);
    EXPECT_TRUE(tryStat(root, "new") == nullptr);
  });
}

TEST_P(SnapshotterSuite, AnImageWithoutLayersIsEmpty) {
  BELAY_REQUIRE_ROOT();
  inMounted(snapshotter->prepare("one", nullptr), [](int root) {
    EXPECT_EQ(namesIn(root).size(), 0);
    writeNewFile(root, "file", "x", 0644);
  });
}

TEST_P(SnapshotterSuite, AKeyIsUsedOnce) {
  snapshotter->prepare("one", kj::arr(base));
  EXPECT_EQ(codeThrown([&]() { snapshotter->prepare("one", kj::arr(base)); }),
            Code::ALREADY_EXISTS);
  snapshotter->remove("one");
  snapshotter->prepare("one", kj::arr(base));
}

TEST_P(SnapshotterSuite, KeysArePlainNames) {
  for (kj::StringPtr key : {"", ".", "..", "a/b", "/", ".hidden"}) {
    EXPECT_EQ(codeThrown([&]() { snapshotter->prepare(key, kj::arr(base)); }),
              Code::INVALID_ARGUMENT);
    EXPECT_TRUE(snapshotter->find(key) == nullptr);
    snapshotter->remove(key);
  }
  EXPECT_EQ(snapshotter->list().size(), 0);
  EXPECT_TRUE(store->hasLayer(base));
}

TEST_P(SnapshotterSuite, AMissingLayerIsToldAndLeavesNothing) {
  auto absent = Digest::of("absent"_kj.asBytes());
  EXPECT_EQ(codeThrown([&]() { snapshotter->prepare("one", kj::arr(base, absent)); }),
            Code::NOT_FOUND);
  EXPECT_EQ(snapshotter->list().size(), 0);
}

TEST_P(SnapshotterSuite, SnapshotsOutliveARestart) {
  auto before = snapshotter->prepare("one", kj::arr(base, top));
  restart();
  auto list = snapshotter->list();
  auto one = findIn(list, "one");
  ASSERT_NE(one, nullptr);
  ASSERT_EQ(one->chainIds.size(), 2);
  EXPECT_TRUE(one->chainIds[0] == base && one->chainIds[1] == top);
  KJ_IF_MAYBE (after, snapshotter->find("one")) {
    EXPECT_EQ(kj::strArray(after->lower, " "), kj::strArray(before.lower, " "));
    EXPECT_EQ(after->upper, before.upper);
    EXPECT_EQ(after->work, before.work);
    EXPECT_EQ(kj::strArray(after->options, " "), kj::strArray(before.options, " "));
  } else {
    FAIL() << "not found";
  }
}

TEST_P(SnapshotterSuite, ListNamesTheLayersThatMustStay) {
  snapshotter->prepare("one", kj::arr(base));
  kj::Vector<Digest> live;
  for (auto& snapshot : snapshotter->list())
    live.addAll(snapshot.chainIds);
  EXPECT_EQ(store->collect(nullptr, live).layers, 1);
  EXPECT_TRUE(store->hasLayer(base) && !store->hasLayer(top));
}

TEST_P(SnapshotterSuite, RemoveIsImmediateIdempotentAndFreesTheSpace) {
  auto mount = snapshotter->prepare("one", kj::arr(base));
  writeNewFile(openAt(AT_FDCWD, mount.upper, O_RDONLY | O_DIRECTORY), "file", "x", 0644);
  snapshotter->remove("one");
  EXPECT_EQ(snapshotter->list().size(), 0);
  EXPECT_TRUE(snapshotter->find("one") == nullptr);
  EXPECT_NE(access(mount.upper.cStr(), F_OK), 0);
  snapshotter->remove("one");
  snapshotter->remove("never");
  wait(snapshotter->whenTrashIsEmpty());
  EXPECT_EQ(count("../snapshotter/trash"), 0);
}

TEST_P(SnapshotterSuite, RemovesWhatAContainerLeftBehind) {
  BELAY_REQUIRE_ROOT();
  auto outside = kj::str(folder.path(), "/outside");
  writeNewFile(makeFolders(outside, 0755), "precious", "x", 0644);
  inMounted(snapshotter->prepare("one", kj::arr(base)), [&](int root) {
    KJ_SYSCALL(symlinkat(outside.cStr(), root, "link"));
    KJ_SYSCALL(unlinkat(root, "base", 0));  // a whiteout
    auto locked = makeFolder(root, "locked", 0755);
    writeNewFile(locked, "file", "x", 0000);
    KJ_SYSCALL(fchown(locked, 1234, 1234));
    KJ_SYSCALL(fchmod(locked, 0000));
    // Deeper than paths, stacks and descriptors reach.
    auto here = makeFolder(root, "deep", 0755);
    for (int depth = 0; depth < 3000; ++depth)
      here = makeFolder(here, "d", 0755);
    KJ_SYSCALL(symlinkat(outside.cStr(), here, "link"));
  });
  snapshotter->remove("one");
  wait(snapshotter->whenTrashIsEmpty());
  EXPECT_EQ(count("../snapshotter/trash"), 0);
  EXPECT_EQ(access(kj::str(outside, "/precious").cStr(), F_OK), 0);
}

TEST_P(SnapshotterSuite, UsageIsWhatWasWritten) {
  auto mount = snapshotter->prepare("one", kj::arr(base, top));
  auto before = wait(snapshotter->usage("one"));
  auto upper = openAt(AT_FDCWD, mount.upper, O_RDONLY | O_DIRECTORY);
  writeNewFile(upper, "file", kj::str(kj::repeat('x', 1 << 20)), 0644);
  KJ_SYSCALL(linkat(upper, "file", upper, "second-name", 0));
  auto after = wait(snapshotter->usage("one"));
  EXPECT_EQ(after.inodes, before.inodes + 1);
  EXPECT_GE(after.bytes, before.bytes + (1 << 20));
  EXPECT_LT(after.bytes, before.bytes + (1 << 20) + (64 << 10));
  EXPECT_EQ(codeThrown([&]() { wait(snapshotter->usage("other")); }), Code::NOT_FOUND);
}

inline std::string snapshotterName(const ::testing::TestParamInfo<SnapshotterParam>& info) {
  return info.param.name;
}

}  // namespace belay::snapshot
