// What the engine's system tests share.
#include "shim/engine/engine-test-fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "shim/engine/text-file.h"
#include "shim/sys/pidfd.h"

namespace belay::shim {
namespace {

constexpr const char* BUSYBOX = "/bin/busybox";

// docker's and containerd's default set, which Kubernetes pods get.
constexpr uint64_t DEFAULT_CAPABILITIES = 0xa80425fb;

constexpr kj::StringPtr MASKED[] = {
    "/proc/acpi"_kj,       "/proc/kcore"_kj,       "/proc/keys"_kj, "/proc/latency_stats"_kj,
    "/proc/timer_list"_kj, "/proc/sched_debug"_kj, "/proc/scsi"_kj, "/sys/firmware"_kj};
constexpr kj::StringPtr READONLY[] = {"/proc/bus"_kj, "/proc/fs"_kj, "/proc/irq"_kj, "/proc/sys"_kj,
                                      "/proc/sysrq-trigger"_kj};

kj::String makeDirectory() {
  char path[] = "/tmp/belay-engine-XXXXXX";
  KJ_ASSERT(mkdtemp(path) != nullptr);
  return kj::str(path);
}

kj::AutoCloseFd openDirectory(kj::StringPtr path) {
  std::filesystem::create_directories(path.cStr());
  int fd;
  KJ_SYSCALL(fd = open(path.cStr(), O_PATH | O_DIRECTORY | O_CLOEXEC), path);
  return kj::AutoCloseFd(fd);
}

// Before the event port is made, as KJ wants it.
kj::String prepareProcess() {
  kj::UnixEventPort::captureSignal(SIGCHLD);
  return makeDirectory();
}

size_t countFds() {
  size_t count = 0;
  DIR* directory = opendir("/proc/self/fd");
  while (readdir(directory) != nullptr)
    ++count;
  closedir(directory);
  return count;
}

}  // namespace

CgroupHierarchies EngineTest::discover(Layout layout) {
  if (layout == Layout::AS_IT_IS) return CgroupHierarchies::discover();
  auto wanted = layout == Layout::V1_ALONE ? " - cgroup "_kj : " - cgroup2 "_kj;
  kj::Vector<char> lines;
  auto text = mountsOf("self");
  kj::StringPtr rest = text;
  for (size_t end; (end = rest.findFirst('\n').orDefault(0)) > 0; rest = rest.slice(end + 1)) {
    auto line = kj::heapString(rest.slice(0, end + 1));
    if (strstr(line.cStr(), wanted.cStr()) != nullptr) lines.addAll(line);
  }
  if (lines.size() == 0) {
    hasLayout = false;
    return CgroupHierarchies::discover();
  }
  lines.add('\0');
  return CgroupHierarchies::fromMountinfo(kj::StringPtr(lines.begin(), lines.size() - 1));
}

EngineTest::EngineTest(Layout layout)
    : directory(prepareProcess()),
      loop(port),
      wait(loop),
      hierarchies(discover(layout)),
      podDir(openDirectory(kj::str(directory, "/pod"))),
      context{port, port.getTimer(), hierarchies, podDir} {}

EngineTest::~EngineTest() noexcept {
  std::filesystem::remove_all(directory.cStr());
}

void EngineTest::SetUp() {
  if (!hasLayout) GTEST_SKIP() << "This machine has not the cgroup version that this is about.";
  if (geteuid() != 0) GTEST_SKIP() << "Containers can be made by root only.";
  if (access(BUSYBOX, X_OK) != 0) GTEST_SKIP() << "/bin/busybox (busybox-static) is missing.";
  namespace fs = std::filesystem;
  for (auto name : {"image/bin", "image/etc", "image/tmp", "upper", "work"}) {
    fs::create_directories(kj::str(directory, "/", name).cStr());
  }
  fs::copy_file(BUSYBOX, imagePath("bin/busybox").cStr());
  for (auto applet : {"sh", "cat", "id", "ls", "sleep", "echo", "test", "tty", "stat", "env", "pwd",
                      "readlink", "hostname", "mount", "touch", "head", "dd", "ps", "grep"}) {
    fs::create_symlink("busybox", imagePath(kj::str("bin/", applet)).cStr());
  }
  writeImageFile("etc/passwd",
                 "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1001:Web:/home/web:/bin/sh\n");
  writeImageFile("etc/group", "root:x:0:\nweb:x:1001:\nlogs:x:1002:web\nother:x:1003:root\n");
  fillPodSpec();
  fillContainerSpec();
  fdsBefore = countFds();
}

void EngineTest::TearDown() {
  if (IsSkipped()) return;
  if (podMade) {
    cgroup->kill();
    cgroup->whenEmpty(context).wait(wait);
    cgroup->remove();
    // Before the first process of a shared pid namespace dies, all others must have been reaped.
    removePodNamespaces(context, podSpec()).exclusiveJoin(reapForEver()).wait(wait);
    podCgroup->remove();
    reapOthers();
    EXPECT_TRUE(std::filesystem::is_empty(kj::str(directory, "/pod").cStr()));
  }
  for (auto& hierarchy : hierarchies.all()) {
    auto path = kj::str(hierarchy.mountPoint, podSpec().getCgroupPath());
    EXPECT_NE(access(path.cStr(), F_OK), 0) << path.cStr() << " is left";
  }
  namespaces = PodNamespaces();
  outputReader = nullptr;
  inputWriter = nullptr;
  // Other programs mount and unmount meanwhile: ours are known by their paths.
  EXPECT_EQ(strstr(mountsOf("self").cStr(), directory.cStr()), nullptr) << mountsOf("self").cStr();
  EXPECT_EQ(countFds(), fdsBefore);
}

kj::Promise<void> EngineTest::reapForEver() {
  for (;;) {
    auto signal = port.onSignal(SIGCHLD);
    while (waitpid(-1, nullptr, WNOHANG) > 0) {
    }
    co_await signal;
  }
}

// Stage A of each container and exec, and everything that was killed.
void EngineTest::reapOthers() {
  while (waitpid(-1, nullptr, 0) > 0) {
  }
  EXPECT_EQ(errno, ECHILD);
}

void EngineTest::fillPodSpec() {
  auto spec = podSpec();
  spec.setId("pod");
  spec.setHostname("web-0");
  spec.setPid(NamespaceMode::CONTAINER);
  spec.setNetnsPath(kj::str(directory, "/netns/cni-test"));
  spec.setCgroupPath(kj::str("/belay-test-", getpid()));
  spec.setShmBytes(1 << 20);
}

void EngineTest::fillProcess(ProcessSpec::Builder process) {
  auto env = process.initEnv(1);
  env.set(0, kj::StringPtr("PATH=/bin").asBytes());
  process.getUser().setUid(0);
  auto capabilities = process.initCapabilities();
  capabilities.setBounding(DEFAULT_CAPABILITIES);
  capabilities.setEffective(DEFAULT_CAPABILITIES);
  capabilities.setPermitted(DEFAULT_CAPABILITIES);
}

void EngineTest::fillContainerSpec() {
  auto spec = containerSpec();
  spec.setId("container");
  spec.setPid(NamespaceMode::CONTAINER);
  spec.setCgroupPath(kj::str(podSpec().getCgroupPath(), "/container"));
  auto rootfs = spec.initRootfs();
  rootfs.initLower(1).set(0, kj::str(directory, "/image"));
  rootfs.setUpper(kj::str(directory, "/upper"));
  rootfs.setWork(kj::str(directory, "/work"));
  rootfs.initOptions(1).set(0, "userxattr");
  setScript(spec.initProcess(), "true");
  fillProcess(spec.getProcess());

  addMount("/proc").getKind().setProc();
  auto dev = addMount("/dev");
  dev.setNosuid(true);
  auto tmpfs = dev.getKind().initTmpfs();
  tmpfs.setMode(0755);
  tmpfs.setSizeBytes(64 << 10);
  addMount("/dev/pts").getKind().setDevpts();
  addMount("/dev/shm").getKind().setShm();
  addMount("/dev/mqueue").getKind().setMqueue();
  auto sys = addMount("/sys");
  sys.setReadonly(true);
  sys.getKind().setSysfs();
  auto cgroups = addMount("/sys/fs/cgroup");
  cgroups.setReadonly(true);
  cgroups.getKind().setCgroup();

  constexpr kj::StringPtr NODES[] = {"null"_kj, "zero"_kj,   "full"_kj,
                                     "tty"_kj,  "random"_kj, "urandom"_kj};
  auto devices = spec.initDevices(6);
  for (uint i = 0; i < 6; ++i) {
    devices[i].setPath(kj::str("/dev/", NODES[i]));
    devices[i].setHostPath(kj::str("/dev/", NODES[i]));
    devices[i].setAccess("rwm");
  }
  auto masked = spec.initMaskedPaths(kj::size(MASKED));
  for (uint i = 0; i < kj::size(MASKED); ++i)
    masked.set(i, MASKED[i]);
  auto readonly = spec.initReadonlyPaths(kj::size(READONLY));
  for (uint i = 0; i < kj::size(READONLY); ++i)
    readonly.set(i, READONLY[i]);
}

Mount::Builder EngineTest::addMount(kj::StringPtr destination) {
  // Lists do not grow: the old ones are copied.
  auto spec = containerSpec();
  auto old = spec.disownMounts();
  auto mounts = spec.initMounts(old.getReader().size() + 1);
  uint i = 0;
  for (auto mount : old.getReader())
    mounts.setWithCaveats(i++, mount);
  mounts[i].setDestination(destination);
  return mounts[i];
}

void EngineTest::setCommand(ProcessSpec::Builder process, kj::ArrayPtr<const kj::StringPtr> args) {
  auto list = process.initArgs(args.size());
  for (uint i = 0; i < args.size(); ++i)
    list.set(i, args[i].asBytes());
}

void EngineTest::setScript(ProcessSpec::Builder process, kj::StringPtr script) {
  setCommand(process, {"sh"_kj, "-c"_kj, script});
}

ProcessSpec::Builder EngineTest::execSpec(kj::StringPtr script) {
  execs.add(kj::heap<capnp::MallocMessageBuilder>());
  auto process = execs.back()->initRoot<ProcessSpec>();
  setScript(process, script);
  fillProcess(process);
  return process;
}

void EngineTest::writeImageFile(kj::StringPtr path, kj::StringPtr text) {
  auto name = imagePath(path);
  int fd;
  KJ_SYSCALL(fd = open(name.cStr(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644), name);
  kj::AutoCloseFd file(fd);
  kj::FdOutputStream(file.get()).write(text.begin(), text.size());
}

void EngineTest::makePod() {
  podMade = true;
  podCgroup = Cgroup::create(hierarchies, podSpec().getCgroupPath());
  auto made = makePodNamespaces(context, podSpec()).wait(wait);
  KJ_IF_MAYBE (failure, made.tryGet<FailureValue>()) {
    KJ_FAIL_REQUIRE(failure->message);
  }
  namespaces = kj::mv(made.get<PodNamespaces>());
  cgroup = Cgroup::create(hierarchies, containerSpec().getCgroupPath());
  cgroup->limit(containerSpec().getResources());
  cgroup->limitDevices(containerSpec().getDevices(), containerSpec().getAllDevices());
}

ChildStdio EngineTest::newStdio() {
  int in[2], out[2];
  KJ_SYSCALL(pipe2(in, O_CLOEXEC));
  KJ_SYSCALL(pipe2(out, O_CLOEXEC));
  inputWriter = kj::AutoCloseFd(in[1]);
  outputReader = kj::AutoCloseFd(out[0]);
  ChildStdio stdio;
  stdio.in = kj::AutoCloseFd(in[0]);
  stdio.out = kj::AutoCloseFd(out[1]);
  int copy;
  KJ_SYSCALL(copy = fcntl(stdio.out, F_DUPFD_CLOEXEC, 3));
  stdio.err = kj::AutoCloseFd(copy);
  return stdio;
}

kj::AutoCloseFd EngineTest::takeInput() {
  return kj::mv(inputWriter);
}

kj::String EngineTest::readLine() {
  kj::Vector<char> line;
  char c = '\0';
  while (c != '\n' && read(outputReader, &c, 1) == 1)
    line.add(c);
  return kj::heapString(line.asPtr());
}

kj::String EngineTest::readTerminal(int master, kj::StringPtr end) {
  kj::Vector<char> text;
  for (;;) {
    struct pollfd ready = {master, POLLIN, 0};
    KJ_SYSCALL(poll(&ready, 1, -1));
    char buffer[256];
    ssize_t n = read(master, buffer, sizeof(buffer));
    // EIO is how Linux says that nobody holds the other side.
    if (n < 0 && errno == EIO) break;
    KJ_REQUIRE(n > 0, strerror(errno));
    text.addAll(buffer, buffer + n);
    if (end.size() > 0 && kj::heapString(text.asPtr()).endsWith(end)) break;
  }
  return kj::heapString(text.asPtr());
}

kj::String EngineTest::readOutput() {
  return kj::FdInputStream(outputReader.get()).readAllText();
}

kj::OneOf<Prepared, FailureValue> EngineTest::prepare() {
  if (!podMade) makePod();
  return prepareContainer(context, containerSpec(), namespaces, *cgroup, newStdio()).wait(wait);
}

Prepared EngineTest::prepareWell() {
  auto prepared = prepare();
  KJ_IF_MAYBE (failure, prepared.tryGet<FailureValue>()) {
    KJ_FAIL_REQUIRE(failure->message);
  }
  return kj::mv(prepared.get<Prepared>());
}

EngineTest::Result EngineTest::finish(Prepared prepared) {
  KJ_IF_MAYBE (failure, releaseGate(context, prepared).wait(wait)) {
    KJ_FAIL_REQUIRE(failure->message);
  }
  inputWriter = nullptr;
  auto output = readOutput();
  return {waitFor(prepared.pidfd), kj::mv(output)};
}

EngineTest::Result EngineTest::run() {
  return finish(prepareWell());
}

kj::OneOf<Entered, FailureValue> EngineTest::enter(ProcessSpec::Reader process, int pidfd,
                                                   Cgroup& cgroup) {
  return enterContainer(context, process, {pidfd, namespaces.ids}, cgroup, newStdio()).wait(wait);
}

kj::String EngineTest::outputOf(kj::StringPtr script) {
  setScript(containerSpec().getProcess(), script);
  auto result = run();
  EXPECT_EQ(result.code, 0) << result.output.cStr();
  return kj::mv(result.output);
}

EngineTest::Result EngineTest::exec(ProcessSpec::Reader process, const Prepared& container) {
  auto own = cgroup->createChild(kj::str("exec-", ++execCount));
  auto entered = enter(process, container.pidfd, *own);
  KJ_IF_MAYBE (failure, entered.tryGet<FailureValue>()) {
    KJ_FAIL_REQUIRE(failure->message);
  }
  inputWriter = nullptr;
  auto output = readOutput();
  int code = waitFor(entered.get<Entered>().pidfd);
  // Stage A, which is in it as well, may be on its way out.
  own->whenEmpty(context).wait(wait);
  own->remove();
  return {code, kj::mv(output)};
}

int EngineTest::waitFor(int pidfd) {
  siginfo_t info;
  KJ_SYSCALL(sys::waitFor(pidfd, info));
  return info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
}

kj::String EngineTest::mountsOf(kj::StringPtr process) {
  return readTextFile(AT_FDCWD, kj::str("/proc/", process, "/mountinfo"), 16 << 20);
}

}  // namespace belay::shim
