// System tests of mounting the rootfs: what the container tests do not reach.
#include "shim/engine/rootfs-overlay.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "shim/engine/engine-test-fixture.h"
#include "shim/engine/rootfs-paths.h"
#include "shim/sys/mounts.h"
#include "shim/sys/path.h"

namespace belay::shim {
namespace {

class RootfsOverlayTest : public EngineTest {
 protected:
  // So many layers, each with a file named for its number, the top one being 0.
  void addLayers(uint count) {
    auto lower = containerSpec().getRootfs().initLower(count);
    for (uint i = 0; i < count; ++i) {
      auto layer = kj::str(directory, "/layer", i);
      std::filesystem::create_directories(layer.cStr());
      KJ_SYSCALL(close(open(kj::str(layer, "/", i).cStr(), O_CREAT | O_WRONLY, 0644)));
      lower.set(i, layer);
    }
  }

  // Mounts the rootfs in a child with a mount namespace of its own; true if the files of the first
  // and of the last layer are there and a new one can be made.
  bool mountsInChild(OverlayWay way, uint last, PodUsers users = {}) {
    auto sockets = newReportSockets();
    pid_t pid = fork();
    if (pid == 0) {
      Reporter reporter(sockets.theirs);
      if (fchdir(podDir) < 0 || unshare(CLONE_NEWNS) < 0 ||
          mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) < 0) {
        _exit(2);
      }
      makeFilesAsPod(reporter, users.ids);
      int root = mountOverlay(reporter, containerSpec().getRootfs(), users, way);
      bool good = sys::openInRoot(root, "0", O_PATH) >= 0 &&
                  sys::openInRoot(root, kj::str(last).cStr(), O_PATH) >= 0;
      int made = openOrMake(reporter, root, "/new/place", MountPointKind::DIRECTORY, Links::FOLLOW);
      struct stat info;
      good = good && fstat(made, &info) == 0 && info.st_uid == users.ids.toHost(0);
      _exit(good ? 0 : 3);
    }
    int status;
    KJ_SYSCALL(waitpid(pid, &status, 0));
    sockets.theirs = nullptr;
    EXPECT_EQ(WEXITSTATUS(status), 0);
    return status == 0;
  }
};

TEST_F(RootfsOverlayTest, TakesManyLayers) {
  addLayers(200);
  EXPECT_TRUE(mountsInChild(OverlayWay::BEST, 199));
}

TEST_F(RootfsOverlayTest, MapsManyLayersToAPodsIds) {
  addLayers(100);
  auto ids = podSpec().initIds();
  ids.setFirstHostId(1000000);
  ids.setCount(65536);
  makePod();
  for (auto way : {OverlayWay::BEST, OverlayWay::MOUNT_CALL}) {
    EXPECT_TRUE(mountsInChild(way, 99, namespaces.users()));
    struct stat info;
    KJ_SYSCALL(stat(kj::str(directory, "/upper/new/place").cStr(), &info));
    EXPECT_EQ(info.st_uid, 0u);
  }
}

TEST_F(RootfsOverlayTest, OlderKernelsAreToldByMount) {
  addLayers(100);
  EXPECT_TRUE(mountsInChild(OverlayWay::MOUNT_CALL, 99));
  EXPECT_TRUE(std::filesystem::exists(kj::str(directory, "/upper/new/place").cStr()));
}

}  // namespace
}  // namespace belay::shim
