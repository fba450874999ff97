// Handing a system call filter's listener to the program that answers for the container.
#include "shim/engine/seccomp-listener.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "shim/sys/pidfd.h"

namespace belay::shim {
namespace {

constexpr const char* CONNECT_STEP = "connect to the seccomp listener";
constexpr const char* STEP = "give the seccomp filter to its listener";

// A container may have taken the process over and named another descriptor.
bool isListener(int fd) {
  constexpr kj::StringPtr WHAT = "anon_inode:seccomp notify"_kj;
  char target[64];
  ssize_t length = readlink(kj::str("/proc/self/fd/", fd).cStr(), target, sizeof(target));
  return length == ssize_t(WHAT.size()) && memcmp(target, WHAT.begin(), length) == 0;
}

// Answers errno.
int sendWithDescriptor(int socket, kj::ArrayPtr<const char> text, int fd) {
  struct iovec data = {const_cast<char*>(text.begin()), text.size()};
  alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  struct msghdr message = {};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  auto* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(header), &fd, sizeof(int));
  ssize_t n;
  do {
    n = sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (n < 0 && errno == EINTR);
  if (n < 0) return errno;
  return size_t(n) == text.size() ? 0 : EMSGSIZE;
}

}  // namespace

bool hasListener(ProcessSpec::Reader process) {
  return process.getSeccompListener().getPath().size() > 0;
}

int connectToListener(const Reporter& reporter, ProcessSpec::Reader process) {
  if (!hasListener(process)) return -1;
  auto path = process.getSeccompListener().getPath();
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    reporter.fail(CONNECT_STEP, path.cStr(), ENAMETOOLONG);
  }
  memcpy(address.sun_path, path.begin(), path.size());
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) < 0) {
    reporter.fail(CONNECT_STEP, path.cStr(), errno,
                  "the profile refers system calls to the program that listens there");
  }
  return fd;
}

void offerListener(const Reporter& reporter, int listener) {
  Report report;
  report.kind = Report::Kind::LISTENER;
  report.listener = listener;
  reporter.send(report);
  reporter.waitAtGate();
}

ListenerHandover::ListenerHandover(ProcessSpec::Reader process, Status status) : status(status) {
  if (!hasListener(process)) return;
  auto spec = process.getSeccompListener();
  path = kj::str(spec.getPath());
  beforePid = kj::str(spec.getBeforePid());
  beforeStatus = kj::str(spec.getBeforeStatus());
  beforeFirstPid = kj::str(spec.getBeforeFirstPid());
  end = kj::str(spec.getEnd());
}

kj::Maybe<FailureValue> ListenerHandover::handOver(const Process& process) {
  kj::AutoCloseFd taken(sys::descriptorOf(process.pidfd, listener));
  if (taken.get() < 0) return systemFailure(STEP, path, errno);
  if (!isListener(taken)) {
    return plainFailure(Failure::Code::INTERNAL, STEP, path,
                        "what the process says is the filter's listener is none");
  }
  auto word = status == Status::CREATING ? "creating"_kj : "running"_kj;
  auto message =
      kj::str(beforePid, process.pid, beforeStatus, word, beforeFirstPid, process.firstPid, end);
  int error = sendWithDescriptor(connection, message, taken);
  if (error != 0) return systemFailure(STEP, path, error);
  connection = nullptr;
  listener = -1;
  // A process that is gone is told by its pidfd.
  openGate(process.gate);
  return nullptr;
}

}  // namespace belay::shim
