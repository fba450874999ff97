// Whether this machine can give pods user namespaces of their own.
#include "shim/engine/user-namespace-try.h"

#include <capnp/message.h>
#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim/engine/report.h"
#include "shim/engine/rootfs-overlay.h"
#include "shim/engine/user-namespace.h"
#include "shim/sys/clone.h"
#include "shim/sys/mounts.h"

namespace belay::shim {
namespace {

constexpr kj::StringPtr STEP = "try a user namespace"_kj;

// Any will do that is not the host's root.
constexpr uint32_t FIRST_ID = 65536;
constexpr uint32_t ID_COUNT = 65536;

// A child and this process's end of its report socket.
struct Trial {
  KilledOnDrop child;
  pid_t pid = -1;
  kj::AutoCloseFd socket;

  template <typename Body>
  kj::Maybe<FailureValue> start(uint64_t flags, Body&& body) {
    auto sockets = newReportSockets();
    int pidfd = -1;
    pid = sys::cloneProcess({.flags = flags}, pidfd);
    if (pid < 0) return systemFailure(STEP, "", errno, "see the limits below /proc/sys/user/");
    if (pid == 0) {
      // Its end tells that the parent was killed only once nobody else holds it.
      sockets.ours = nullptr;
      body(Reporter(sockets.theirs));
      _exit(0);
    }
    child.pidfd = kj::AutoCloseFd(pidfd);
    socket = kj::mv(sockets.ours);
    return nullptr;
  }

  // What the child has to say; nothing if all is well.
  kj::Maybe<FailureValue> hear() {
    Report report;
    ssize_t size = recv(socket, &report, sizeof(report), 0);
    if (size != sizeof(report)) {
      return plainFailure(Failure::Code::INTERNAL, STEP, "", "the process that does it was killed");
    }
    if (report.kind == Report::Kind::FAILED) return failureOf(report);
    return nullptr;
  }
};

void reportReady(const Reporter& reporter) {
  Report report;
  report.kind = Report::Kind::READY;
  reporter.send(report);
}

// What a container's set-up does, in little.
void mountMapped(const Reporter& reporter, int place, Rootfs::Reader rootfs, PodUsers users) {
  if (fchdir(place) < 0 || unshare(CLONE_NEWNS) < 0 ||
      mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) < 0) {
    reporter.fail("make", "a mount namespace", errno);
  }
  makeFilesAsPod(reporter, users.ids);
  int root = mountOverlay(reporter, rootfs, users);
  struct stat info;
  if (mkdirat(root, "new", 0755) < 0 || fstatat(root, "new", &info, 0) < 0) {
    reporter.fail("write to", "an overlay of id-mapped layers", errno);
  }
  if (info.st_uid != users.ids.toHost(0)) {
    reporter.refuse(Failure::Code::FAILED_PRECONDITION, "write to",
                    "an overlay of id-mapped layers", "the owner is not the mapped one");
  }
  int tmpfs = sys::newMount("tmpfs", nullptr, 0, 0);
  if (tmpfs < 0 || sys::mapIds(tmpfs, users.userNamespace) < 0) {
    reporter.fail("map the ids of", "a tmpfs", errno, "Linux 6.3 and later can");
  }
  reportReady(reporter);
}

// An image's layer and the folders of a container, empty.
class Folders {
 public:
  explicit Folders(kj::StringPtr parent) : path(kj::str(parent, "/.try-XXXXXX")) {
    KJ_REQUIRE(mkdtemp(path.begin()) != nullptr, "cannot make a folder", path, strerror(errno));
    own = openFolder(AT_FDCWD, path);
    for (auto name : {"layer", "fs", "work", "rootfs"})
      KJ_SYSCALL(mkdirat(own, name, 0755), path, name);
    rootfs = openFolder(own, "rootfs");
  }
  ~Folders() noexcept(false) {
    // "work/work" is overlay's own.
    for (auto name : {"fs/new", "work/work", "layer", "fs", "work", "rootfs"})
      unlinkat(own, name, AT_REMOVEDIR);
    rmdir(path.cStr());
  }
  KJ_DISALLOW_COPY_AND_MOVE(Folders);

  // Where to mount it.
  int place() const { return rootfs; }

  void describe(Rootfs::Builder rootfs) const {
    rootfs.initLower(1).set(0, kj::str(path, "/layer"));
    rootfs.setUpper(kj::str(path, "/fs"));
    rootfs.setWork(kj::str(path, "/work"));
    rootfs.initOptions(1).set(0, "userxattr");
  }

 private:
  kj::String path;
  kj::AutoCloseFd own;
  kj::AutoCloseFd rootfs;

  static kj::AutoCloseFd openFolder(int parent, kj::StringPtr name) {
    int fd;
    KJ_SYSCALL(fd = openat(parent, name.cStr(), O_PATH | O_DIRECTORY | O_CLOEXEC), name);
    return kj::AutoCloseFd(fd);
  }
};

}  // namespace

kj::Maybe<FailureValue> tryUserNamespaces(kj::StringPtr folder) {
  PodUsers users;
  users.ids.firstHostId = FIRST_ID;
  users.ids.count = ID_COUNT;

  Trial holder;
  KJ_IF_MAYBE (failure, holder.start(CLONE_NEWUSER, [](const Reporter& reporter) {
                 reporter.waitAtGate();
                 becomeRootOfPod(reporter);
                 reportReady(reporter);
                 reporter.waitAtGate();
               })) {
    return kj::mv(*failure);
  }
  int error = writeIdMaps(holder.pid, users.ids);
  if (error != 0) return systemFailure("map the ids of a user namespace", "", error);
  openGate(holder.socket);
  KJ_IF_MAYBE (failure, holder.hear()) return kj::mv(*failure);
  int fd;
  auto name = kj::str("/proc/", holder.pid, "/ns/user");
  KJ_SYSCALL(fd = open(name.cStr(), O_RDONLY | O_CLOEXEC), name);
  kj::AutoCloseFd userNamespace(fd);
  users.userNamespace = fd;

  Folders folders(folder);
  capnp::MallocMessageBuilder message;
  auto rootfs = message.initRoot<Rootfs>();
  folders.describe(rootfs);
  Trial mounting;
  KJ_IF_MAYBE (failure, mounting.start(0, [&](const Reporter& reporter) {
                 mountMapped(reporter, folders.place(), rootfs, users);
               })) {
    return kj::mv(*failure);
  }
  return mounting.hear();
}

}  // namespace belay::shim
