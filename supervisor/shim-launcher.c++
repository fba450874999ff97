// See shim-launcher.h.
#include "supervisor/shim-launcher.h"

#include <fcntl.h>
#include <kj/debug.h>
#include <sys/socket.h>
#include <unistd.h>

#include "failpoint/failpoint.h"

namespace belay::supervisor {

namespace {

constexpr const char* LOG_NAME = "shim.log";
constexpr off_t TAIL_BYTES = 500;

// A shim is the last to go: without it nobody tells how its containers ended. It clamps the value
// itself where the kernel does not permit it.
constexpr int OOM_SCORE_ADJ = -999;

constexpr int SOCKET_NUMBER = 3;  // what belay-shim expects

}  // namespace

ShimLauncher::ShimLauncher(kj::StringPtr program, snapshot::Children& children, Cgroups& cgroups)
    : program(kj::str(program)), children(children), cgroups(cgroups) {}

ShimLauncher::Started ShimLauncher::start(kj::StringPtr podId, kj::StringPtr path, int podFolder) {
  int pair[2];
  KJ_SYSCALL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
  kj::AutoCloseFd ours(pair[0]), theirs(pair[1]);
  int log;
  KJ_SYSCALL(log = openat(podFolder, LOG_NAME, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  kj::AutoCloseFd ownLog(log);

  auto home = cgroups.makeHome(podId);
  snapshot::Command command;
  command.path = kj::str(program);
  command.argv = kj::arr(kj::str("belay-shim"), kj::str("--pod-dir"), kj::str(path),
                         kj::str("--id"), kj::str(podId));
  command.descriptors.add(snapshot::Command::Descriptor{STDERR_FILENO, log});
  command.descriptors.add(snapshot::Command::Descriptor{SOCKET_NUMBER, theirs});
  for (auto& tasks : home.tasks)
    command.cgroupTasks.add(tasks);
  if (home.folder.get() >= 0) command.cgroupFolder = home.folder.get();
  KJ_IF_MAYBE (failpoints, failpoint::environmentFor("shim.")) {
    command.env = kj::arr(kj::mv(*failpoints));
  }
  command.group = snapshot::Command::Group::SESSION;
  command.oomScoreAdj = OOM_SCORE_ADJ;

  Started started;
  started.child = children.spawn(command, snapshot::Child::OnDrop::LEAVE);
  started.socket = kj::mv(ours);
  int pidfd;
  KJ_SYSCALL(pidfd = fcntl(started.child->pidfd(), F_DUPFD_CLOEXEC, 0));
  started.pidfd = kj::AutoCloseFd(pidfd);
  return started;
}

kj::String shimLogTail(int podFolder) {
  int log = openat(podFolder, LOG_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (log < 0) return kj::String();
  kj::AutoCloseFd own(log);
  off_t end = lseek(log, 0, SEEK_END);
  char buffer[TAIL_BYTES];
  ssize_t count = pread(log, buffer, sizeof(buffer), kj::max<off_t>(0, end - TAIL_BYTES));
  if (count <= 0) return kj::String();
  while (count > 0 && buffer[count - 1] == '\n')
    --count;
  return kj::heapString(buffer, count);
}

}  // namespace belay::supervisor
