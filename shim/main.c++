// belay-shim: lives as long as one pod and holds everything of it that must outlive the supervisor.
//
//   belay-shim --pod-dir DIR --id ID [--log FILE]
//   belay-shim --pod-dir DIR --id ID --resume NUMBER
//   belay-shim --pod-dir DIR --id ID --check-handover NUMBER
//   belay-shim --try-user-namespaces DIR
//   belay-shim --keep-cgroup
//
// The second form goes on in place of another program of the same process, the third says whether
// it could (upgrade.h). The fourth is no pod's: it says why pods cannot have user namespaces here
// when their upper folders are in DIR, and nothing if they can. The fifth is a cgroup's keeper
// (keeper.h).
//
// In the first form descriptor 3 is a connected Unix stream socket to the supervisor that starts
// it; later supervisors connect to DIR/shim.sock. See shim.capnp for what is spoken there.
#include <errno.h>
#include <fcntl.h>
#include <kj/async-io.h>
#include <kj/debug.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "failpoint/failpoint.h"
#include "shim/connections.h"
#include "shim/engine/cgroup-hierarchies.h"
#include "shim/engine/context.h"
#include "shim/engine/user-namespace-try.h"
#include "shim/keeper.h"
#include "shim/pod.h"
#include "shim/read-only-program.h"
#include "shim/reaper.h"
#include "shim/record.h"
#include "shim/shim-context.h"
#include "shim/shim-lock.h"
#include "shim/shim-server.h"
#include "shim/stdio/log-disk.h"
#include "shim/stdio/work.h"
#include "shim/sys/fds.h"
#include "shim/upgrade.h"

namespace belay::shim {
namespace {

constexpr int SUPERVISOR_FD = 3;
constexpr kj::StringPtr SOCKET_NAME = "shim.sock"_kj;

// The last to be killed when memory is short, but for those the administrator exempts wholly.
constexpr int OOM_SCORE_ADJ = -999;

// Told apart by the supervisor: once the other shim's process is gone this one may be started
// again.
constexpr int EXIT_NOT_ALONE = 75;

// After the pod is removed its supervisor has this long to read the answer and hang up.
constexpr kj::Duration GOODBYE = 200 * kj::MILLISECONDS;

// A shim that has no pod and no connection for this long was started by a supervisor that died at
// once; nobody will come for it.
constexpr kj::Duration ORPHAN_PATIENCE = 5 * kj::SECONDS;

// Between two looks at the kernel, when the event loop is never idle: a container that floods its
// log must not keep others' events waiting.
constexpr uint TURNS_BETWEEN_POLLS = 32;

struct Arguments {
  kj::StringPtr podDirectory;
  kj::StringPtr id;
  kj::StringPtr log;
  kj::StringPtr tryIn;
  kj::Maybe<int> resume;
  kj::Maybe<int> check;
};

[[noreturn]] void usage(kj::StringPtr problem) {
  fprintf(stderr,
          "belay-shim: %s\nusage: belay-shim --pod-dir DIR --id ID [--log FILE]\n"
          "       belay-shim --try-user-namespaces DIR\n"
          "       belay-shim --keep-cgroup\n",
          problem.cStr());
  _exit(2);
}

Arguments parseArguments(int argc, char** argv) {
  Arguments result;
  for (int i = 1; i < argc; i++) {
    kj::StringPtr flag = argv[i];
    if (flag == "--version") {
      printf("belay-shim %s\n", versionText().cStr());
      fflush(stdout);
      _exit(0);
    }
    if (flag == "--keep-cgroup") becomeKeeper();
    if (i + 1 == argc) usage(kj::str("missing value, or unknown flag: ", flag));
    kj::StringPtr value = argv[++i];
    if (flag == "--pod-dir") {
      result.podDirectory = value;
    } else if (flag == "--id") {
      result.id = value;
    } else if (flag == "--log") {
      result.log = value;
    } else if (flag == "--resume") {
      result.resume = value.parseAs<int>();
    } else if (flag == "--check-handover") {
      result.check = value.parseAs<int>();
    } else if (flag == "--try-user-namespaces") {
      result.tryIn = value;
    } else {
      usage(kj::str("unknown flag: ", flag));
    }
  }
  if (result.tryIn.size() > 0) return result;
  if (result.podDirectory.size() == 0) usage("--pod-dir is missing");
  if (result.id.size() == 0) usage("--id is missing");
  return result;
}

kj::AutoCloseFd openPodDirectory(kj::StringPtr path) {
  int fd;
  KJ_SYSCALL(fd = open(path.cStr(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), path);
  return kj::AutoCloseFd(fd);
}

// So that no successor is made while this lives.
kj::AutoCloseFd takeLock(int podDirectory) {
  auto lock = lockPod(podDirectory);
  KJ_IF_MAYBE (owner, lock.tryGet<pid_t>()) {
    KJ_LOG(ERROR, "the pod has a shim, which lives, or was killed and hangs in the kernel", *owner);
    _exit(EXIT_NOT_ALONE);
  }
  return kj::mv(lock.get<kj::AutoCloseFd>());
}

void redirectLog(kj::StringPtr path) {
  if (path.size() == 0) return;
  int fd;
  KJ_SYSCALL(fd = open(path.cStr(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640), path);
  kj::AutoCloseFd own(fd);
  KJ_SYSCALL(dup2(fd, STDOUT_FILENO));
  KJ_SYSCALL(dup2(fd, STDERR_FILENO));
}

// Makes this a process of its own, whatever it was started by, with the given descriptors besides
// the standard ones.
void becomeDaemon(kj::Vector<int> keep) {
  for (int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    keep.add(standard);
  KJ_SYSCALL(sys::closeAllBut(keep.begin(), keep.size()));
  // Whatever the parent blocked stays blocked across execve.
  sigset_t none;
  sigemptyset(&none);
  KJ_SYSCALL(sigprocmask(SIG_SETMASK, &none, nullptr));
  // EPERM: it leads a session already.
  (void)setsid();
  KJ_SYSCALL(chdir("/"));
  umask(022);
  KJ_SYSCALL(prctl(PR_SET_CHILD_SUBREAPER, 1));
  // Run by a descriptor it would be called by the descriptor's number.
  KJ_SYSCALL(prctl(PR_SET_NAME, "belay-shim"));
  hardenEngineProcess();
}

// EACCES: without CAP_SYS_RESOURCE the value may not be lowered, and is left.
void protectFromOom() {
  int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  kj::AutoCloseFd own(fd);
  auto text = kj::str(OOM_SCORE_ADJ);
  if (write(fd, text.begin(), text.size()) < 0 && errno != EACCES) {
    KJ_LOG(WARNING, "cannot protect the shim from the OOM killer", strerror(errno));
  }
}

// Buffers of a busy log are the only big allocations: they go back to the kernel at once.
void keepHeapSmall() {
  mallopt(M_MMAP_THRESHOLD, 32 << 10);
  mallopt(M_TRIM_THRESHOLD, 32 << 10);
  mallopt(M_ARENA_MAX, 1);
}

// Resolves when the pod is removed, or there will never be one.
kj::Promise<void> whenUnneeded(Pod& pod, Connections& connections, kj::Timer& timer) {
  while (!pod.isCreated() && !pod.isRemoved()) {
    auto born = pod.whenCreated().exclusiveJoin(pod.whenRemoved()).fork();
    co_await connections.whenNone().exclusiveJoin(born.addBranch());
    co_await timer.afterDelay(ORPHAN_PATIENCE).exclusiveJoin(born.addBranch());
    if (!pod.isCreated() && connections.none()) co_return;
  }
  co_await pod.whenRemoved();
}

// Resolves when this program's pod is there: for one that was handed over. Nobody is served before.
kj::Promise<void> resume(Pod& pod, Connections& connections, ReceivedHandover& handover) {
  auto failure = co_await pod.resume(handover.get());
  KJ_IF_MAYBE (reason, failure) KJ_FAIL_REQUIRE("the pod cannot be resumed", reason->message);
  connections.listenOn(kj::AutoCloseFd(handover.get().getListener()));
}

void run(const Arguments& arguments, kj::Maybe<ReceivedHandover>& handover) {
  auto podDirectory = openPodDirectory(arguments.podDirectory);
  kj::AutoCloseFd lock;
  KJ_IF_MAYBE (handed, handover) {
    lock = kj::AutoCloseFd(handed->get().getLock());
  } else {
    lock = takeLock(podDirectory);
  }
  auto io = kj::setupAsyncIo();
  io.waitScope.setBusyPollInterval(TURNS_BETWEEN_POLLS);
  auto& timer = io.provider->getTimer();

  auto hierarchies = CgroupHierarchies::discover();
  EngineContext engine{io.unixEventPort, timer, hierarchies, podDirectory};
  Reaper reaper(io.unixEventPort);
  auto disk = newLogDisk(io.unixEventPort);
  ForeignExits foreignExits(io.unixEventPort, timer);
  WorkCounter work;
  Sessions sessions;
  ShimContext context{engine, reaper, foreignExits, *disk, work, sessions};

  Pod pod(context, arguments.id, podDirectory);
  auto server = kj::heap<ShimServer>(context, pod);
  auto& shim = *server;
  Connections connections(*io.lowLevelProvider, io.unixEventPort, kj::mv(server));
  Upgrade upgrade(context, pod, connections, arguments.podDirectory, lock);
  shim.setUpgrade(upgrade);

  KJ_IF_MAYBE (handed, handover) {
    resume(pod, connections, *handed).wait(io.waitScope);
  } else {
    connections.serve(kj::AutoCloseFd(SUPERVISOR_FD));
    connections.listen(podDirectory, SOCKET_NAME);
  }

  whenUnneeded(pod, connections, timer).wait(io.waitScope);
  removeFile(podDirectory, SOCKET_NAME);
  if (!pod.isRemoved()) removeLock(podDirectory);
  connections.whenNone().exclusiveJoin(timer.afterDelay(GOODBYE)).wait(io.waitScope);
}

// The descriptors that the supervisor, or the program before, has given.
kj::Vector<int> givenDescriptors(kj::Maybe<ReceivedHandover>& handover) {
  KJ_IF_MAYBE (handed, handover) return handed->descriptors();
  KJ_SYSCALL(fcntl(SUPERVISOR_FD, F_SETFD, FD_CLOEXEC), "descriptor 3 must be a socket");
  kj::Vector<int> given;
  given.add(SUPERVISOR_FD);
  return given;
}

int checkHandover(const Arguments& arguments, int number) {
  kj::Maybe<kj::String> fault;
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() {
                 auto folder = openPodDirectory(arguments.podDirectory);
                 capnp::StreamFdMessageReader message{kj::AutoCloseFd(number)};
                 fault = findHandoverFault(folder, arguments.id, message.getRoot<Handover>());
               })) {
    fault = kj::str(exception->getDescription());
  }
  KJ_IF_MAYBE (reason, fault) {
    printf("%s", reason->cStr());
    fflush(stdout);
    return 1;
  }
  return 0;
}

int sayWhyNoUserNamespaces(kj::StringPtr folder) {
  KJ_IF_MAYBE (failure, tryUserNamespaces(folder)) {
    printf("%s\n", failure->message.cStr());
    fflush(stdout);
    return 1;
  }
  return 0;
}

int main(int argc, char** argv) {
  auto arguments = parseArguments(argc, argv);
  if (arguments.tryIn.size() > 0) return sayWhyNoUserNamespaces(arguments.tryIn);
  KJ_IF_MAYBE (number, arguments.check) return checkHandover(arguments, *number);
  if (!runFromReadOnlyMount(argv)) {
    KJ_LOG(WARNING, "cannot run from a read-only mount", strerror(errno));
  }
  keepHeapSmall();
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() {
                 redirectLog(arguments.log);
                 failpoint::readEnvironment("shim.");
                 kj::Maybe<ReceivedHandover> handover;
                 KJ_IF_MAYBE (number, arguments.resume) handover.emplace(*number);
                 becomeDaemon(givenDescriptors(handover));
                 protectFromOom();
                 run(arguments, handover);
               })) {
    KJ_LOG(FATAL, "belay-shim cannot go on", arguments.id, *exception);
    return 1;
  }
  // Nothing is worth the time of destructors.
  _exit(0);
}

}  // namespace
}  // namespace belay::shim

int main(int argc, char** argv) {
  return belay::shim::main(argc, argv);
}
