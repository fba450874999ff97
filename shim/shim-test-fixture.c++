// Implementation of shim-test-fixture.h.
#include "shim/shim-test-fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <poll.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "shim/engine/cgroup-hierarchies.h"

namespace belay::shim {
namespace {

namespace fs = std::filesystem;

constexpr char BUSYBOX[] = "/bin/busybox";
constexpr char BINARY[] = "shim/belay-shim";
constexpr uint64_t DEFAULT_CAPABILITIES = 0xa80425fb;  // what the peers give by default

Shim::Client bootstrap(capnp::RpcSystem<capnp::rpc::twoparty::VatId>& rpc) {
  capnp::word scratch[4]{};
  capnp::MallocMessageBuilder message(scratch);
  auto vat = message.getRoot<capnp::rpc::twoparty::VatId>();
  vat.setSide(capnp::rpc::twoparty::Side::SERVER);
  return rpc.bootstrap(vat).castAs<Shim>();
}

std::string readMemoryFile(int fd) {
  struct stat stats;
  KJ_SYSCALL(fstat(fd, &stats));
  std::string text(stats.st_size, '\0');
  ssize_t count;
  KJ_SYSCALL(count = pread(fd, text.data(), text.size(), 0));
  KJ_REQUIRE(size_t(count) == text.size());
  return text;
}

}  // namespace

std::string readFile(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

ShimClient::ShimClient(kj::AsyncIoContext& io, kj::AutoCloseFd socket)
    : stream(io.lowLevelProvider->wrapUnixSocketFd(kj::mv(socket))),
      network(*stream, 16, capnp::rpc::twoparty::Side::CLIENT),
      rpc(capnp::makeRpcClient(network)),
      shim(bootstrap(rpc)) {}

ShimTest::ShimTest() : io(kj::setupAsyncIo()) {}
ShimTest::~ShimTest() noexcept {}

void ShimTest::SetUp() {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to make containers";
  if (access(BUSYBOX, X_OK) != 0) GTEST_SKIP() << "needs " << BUSYBOX << " (busybox-static)";
  char name[] = "/tmp/belay-shim-test-XXXXXX";
  KJ_REQUIRE(mkdtemp(name) != nullptr);
  directory = name;
  cgroupPath = "/belay-shim-test-" + std::to_string(getpid());
  makeImage();
  launch();
}

void ShimTest::TearDown() {
  if (shimPid < 0) return;  // skipped
  if (waitpid(shimPid, nullptr, WNOHANG) == 0) {
    if (client == nullptr) client = connect();
    expectDone(await(shim().removePodRequest().send()).getOutcome());
    hangUp();
    EXPECT_EQ(waitForShim(), 0);
  }
  EXPECT_EQ(readFile("/proc/self/mountinfo").find(directory), std::string::npos)
      << "a mount is left";
  EXPECT_TRUE(fs::is_empty(podDirectory())) << "the pod's directory holds " << [&] {
    std::string names;
    for (auto& entry : fs::directory_iterator(podDirectory()))
      names += entry.path();
    return names;
  }();
  for (auto& hierarchy : CgroupHierarchies::discover().all()) {
    auto path = std::string(hierarchy.mountPoint.cStr()) + cgroupPath;
    EXPECT_FALSE(fs::exists(path)) << path << " is left";
  }
  fs::remove_all(directory);
}

void ShimTest::makeImage() {
  for (auto folder : {"image/bin", "image/etc", "image/tmp", "image/proc", "image/dev", "image/sys",
                      "pod", "logs", "netns"}) {
    fs::create_directories(directory + "/" + folder);
  }
  fs::copy_file(BUSYBOX, directory + "/image/bin/busybox");
  for (auto applet : {"sh", "cat", "echo", "sleep", "id", "dd", "head", "yes", "seq", "true",
                      "tail", "stty", "tr", "setsid"}) {
    fs::create_symlink("busybox", directory + "/image/bin/" + applet);
  }
  fs::permissions(directory + "/image/tmp", fs::perms::all | fs::perms::sticky_bit);
  fs::permissions(directory, fs::perms(0755));
  std::ofstream(directory + "/image/etc/passwd") << "root:x:0:0::/root:/bin/sh\n"
                                                    "user:x:1000:1000::/:/bin/sh\n";
}

void ShimTest::launch() {
  int sockets[2];
  KJ_SYSCALL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets));
  kj::AutoCloseFd ours(sockets[0]), theirs(sockets[1]);
  auto pod = podDirectory();
  KJ_SYSCALL(shimPid = fork());
  if (shimPid == 0) {
    int null = open("/dev/null", O_RDWR);
    dup2(null, 0);
    dup2(null, 1);
    if (dup2(sockets[1], 3) == sockets[1]) fcntl(3, F_SETFD, 0);
    execl(BINARY, "belay-shim", "--pod-dir", pod.c_str(), "--id", "pod-1", nullptr);
    _exit(126);
  }
  client = kj::heap<ShimClient>(io, kj::mv(ours));
}

kj::Own<ShimClient> ShimTest::connect() {
  int folder;
  KJ_SYSCALL(folder = open(podDirectory().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  kj::AutoCloseFd own(folder);
  struct sockaddr_un address{};
  address.sun_family = AF_UNIX;
  snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/shim.sock", folder);
  int fd;
  KJ_SYSCALL(fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  kj::AutoCloseFd socket(fd);
  KJ_SYSCALL(::connect(fd, reinterpret_cast<struct sockaddr*>(&address), sizeof(address)));
  return kj::heap<ShimClient>(io, kj::mv(socket));
}

int ShimTest::waitForShim() {
  int pidfd;
  KJ_SYSCALL(pidfd = syscall(SYS_pidfd_open, shimPid, 0));
  kj::AutoCloseFd own(pidfd);
  struct pollfd ended{pidfd, POLLIN, 0};
  int ready;
  KJ_SYSCALL(ready = poll(&ended, 1, 10'000));
  if (ready == 0) {
    KJ_SYSCALL(kill(shimPid, SIGKILL));
  }
  int status;
  KJ_SYSCALL(waitpid(shimPid, &status, 0));
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void ShimTest::fillPod(PodSpec::Builder pod) {
  pod.setId("pod-1");
  pod.setName("web");
  pod.setNamespace("default");
  pod.setHostname("web-0");
  pod.setNetnsPath(directory + "/netns/cni-test");
  pod.setCgroupPath(cgroupPath);
  pod.setShmBytes(1 << 20);
}

void ShimTest::createPod(std::function<void(PodSpec::Builder)> change) {
  auto request = shim().createPodRequest();
  fillPod(request.initSpec());
  if (change) change(request.getSpec());
  auto response = await(request.send());
  expectDone(response.getOutcome());
  EXPECT_TRUE(response.getState().getCreated());
}

void ShimTest::fillProcess(ProcessSpec::Builder process, kj::StringPtr script) {
  auto args = process.initArgs(3);
  args.set(0, "sh"_kj.asBytes());
  args.set(1, "-c"_kj.asBytes());
  args.set(2, script.asBytes());
  process.initEnv(1).set(0, "PATH=/bin"_kj.asBytes());
  process.setCwd("/");
  process.getUser().setUid(0);
  auto capabilities = process.initCapabilities();
  capabilities.setBounding(DEFAULT_CAPABILITIES);
  capabilities.setEffective(DEFAULT_CAPABILITIES);
  capabilities.setPermitted(DEFAULT_CAPABILITIES);
}

void ShimTest::fillContainer(ContainerSpec::Builder spec, kj::StringPtr id, kj::StringPtr script) {
  for (auto folder : {"upper-", "work-"})
    fs::create_directories(directory + "/" + folder + id.cStr());
  spec.setId(id);
  spec.setName(id);
  spec.setPid(NamespaceMode::CONTAINER);
  spec.setCgroupPath(cgroupPath + "/" + id.cStr());
  spec.setLogPath(logPathOf(id));
  auto rootfs = spec.initRootfs();
  rootfs.initLower(1).set(0, directory + "/image");
  rootfs.setUpper(directory + "/upper-" + id.cStr());
  rootfs.setWork(directory + "/work-" + id.cStr());
  rootfs.initOptions(1).set(0, "userxattr");
  fillProcess(spec.initProcess(), script);
  auto mounts = spec.initMounts(5);
  mounts[0].setDestination("/proc");
  mounts[0].getKind().setProc();
  mounts[1].setDestination("/dev");
  mounts[1].getKind().initTmpfs().setMode(0755);
  mounts[2].setDestination("/dev/pts");
  mounts[2].getKind().setDevpts();
  mounts[3].setDestination("/dev/shm");
  mounts[3].getKind().setShm();
  mounts[4].setDestination("/sys");
  mounts[4].setReadonly(true);
  mounts[4].getKind().setSysfs();
  auto devices = spec.initDevices(2);
  uint i = 0;
  for (auto name : {"/dev/null", "/dev/zero"}) {
    devices[i].setPath(name);
    devices[i].setHostPath(name);
    devices[i++].setAccess("rwm");
  }
}

capnp::Response<Shim::CreateContainerResults> ShimTest::tryCreate(kj::StringPtr id,
                                                                  kj::StringPtr script,
                                                                  Change change) {
  auto request = shim().createContainerRequest();
  fillContainer(request.initSpec(), id, script);
  if (change) change(request.getSpec());
  return await(request.send());
}

Container::Client ShimTest::create(kj::StringPtr id, kj::StringPtr script, Change change) {
  auto response = tryCreate(id, script, change);
  expectDone(response.getOutcome());
  return response.getContainer();
}

void ShimTest::start(Container::Client container) {
  expectDone(await(container.startRequest().send()).getOutcome());
}

Container::Client ShimTest::run(kj::StringPtr id, kj::StringPtr script, Change change) {
  auto container = create(id, script, change);
  start(container);
  return container;
}

capnp::Response<Container::WaitResults> ShimTest::exitOf(Container::Client container) {
  return await(container.waitRequest().send());
}

kj::Promise<ShimTest::ExecAnswer> ShimTest::execSync(Container::Client container,
                                                     kj::StringPtr script, uint64_t timeoutMs,
                                                     uint64_t maxBytes) {
  auto request = container.execSyncRequest();
  fillProcess(request.initProcess(), script);
  request.setTimeoutMs(timeoutMs);
  request.setMaxBytes(maxBytes);
  ExecAnswer answer{co_await request.send()};
  if (answer.results.getOutcome().isDone()) {
    auto out = co_await answer.results.getStdout().getFd();
    auto err = co_await answer.results.getStderr().getFd();
    answer.out = readMemoryFile(KJ_ASSERT_NONNULL(out));
    answer.err = readMemoryFile(KJ_ASSERT_NONNULL(err));
  }
  co_return kj::mv(answer);
}

std::string ShimTest::logPathOf(kj::StringPtr id) {
  return directory + "/logs/" + id.cStr() + "/0.log";
}

std::string ShimTest::logOf(kj::StringPtr id) {
  std::stringstream log(readFile(logPathOf(id)));
  std::string result;
  for (std::string line; std::getline(log, line);) {
    auto space = line.find(' ');
    KJ_REQUIRE(space == 30, "not 2026-01-02T03:04:05.000000006Z", line.c_str());
    result += line.substr(space + 1) + "\n";
  }
  return result;
}

void ShimTest::awaitLog(kj::StringPtr id, std::string_view text) {
  int fd;
  KJ_SYSCALL(fd = inotify_init1(IN_CLOEXEC));
  kj::AutoCloseFd watch(fd);
  KJ_SYSCALL(inotify_add_watch(fd, logPathOf(id).c_str(), IN_MODIFY));
  while (logOf(id).find(text) == std::string::npos) {
    struct pollfd waiting{fd, POLLIN, 0};
    int ready;
    KJ_SYSCALL(ready = poll(&waiting, 1, 20'000));
    KJ_REQUIRE(ready == 1, "the log never got the text", logOf(id).c_str());
    char events[4096];
    KJ_SYSCALL(read(fd, events, sizeof(events)));
  }
}

void ShimTest::expectDone(Outcome::Reader outcome) {
  EXPECT_TRUE(outcome.isDone()) << (outcome.isFailed() ? outcome.getFailed().getMessage().cStr()
                                                       : "");
}

void ShimTest::expectFailed(Outcome::Reader outcome, Failure::Code code) {
  ASSERT_TRUE(outcome.isFailed());
  EXPECT_EQ(outcome.getFailed().getCode(), code) << outcome.getFailed().getMessage().cStr();
  EXPECT_GT(outcome.getFailed().getMessage().size(), 0u);
}

}  // namespace belay::shim
