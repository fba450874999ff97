// How the engine's children tell what became of them.
#include "shim/engine/report.h"

#include <errno.h>
#include <kj/debug.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

#include "shim/sys/pidfd.h"

namespace belay::shim {
namespace {

// The child's pidfd and its terminal.
constexpr size_t MAX_FDS = 4;

template <size_t size>
void copyText(char (&to)[size], const char* from) {
  size_t length = strnlen(from, size - 1);
  memcpy(to, from, length);
  to[length] = '\0';
}

struct ControlBuffer {
  alignas(struct cmsghdr) char bytes[CMSG_SPACE(MAX_FDS * sizeof(int)) +
                                     CMSG_SPACE(sizeof(struct ucred))];
};

// Takes what came along: the descriptors, and the sender's pid.
kj::Array<kj::AutoCloseFd> takeControl(struct msghdr& message, pid_t& sender) {
  kj::Vector<kj::AutoCloseFd> fds;
  for (auto* control = CMSG_FIRSTHDR(&message); control != nullptr;
       control = CMSG_NXTHDR(&message, control)) {
    if (control->cmsg_level != SOL_SOCKET) continue;
    if (control->cmsg_type == SCM_CREDENTIALS) {
      struct ucred credentials;
      memcpy(&credentials, CMSG_DATA(control), sizeof(credentials));
      sender = credentials.pid;
    }
    if (control->cmsg_type != SCM_RIGHTS) continue;
    size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd;
      memcpy(&fd, CMSG_DATA(control) + i * sizeof(int), sizeof(int));
      fds.add(kj::AutoCloseFd(fd));
    }
  }
  return fds.releaseAsArray();
}

// A child that waits at its gate in a pid namespace shared with others may have been taken over by
// a container that may trace it: no text or count of its is trusted.
void distrust(Report& report) {
  report.step[sizeof(report.step) - 1] = '\0';
  report.object[sizeof(report.object) - 1] = '\0';
  report.detail[sizeof(report.detail) - 1] = '\0';
  KJ_REQUIRE(report.groupCount <= Report::MAX_GROUPS, "A set-up child sent a wrong message.");
}

ssize_t sendWithFds(int socket, const Report& report, kj::ArrayPtr<const int> fds) {
  struct iovec data = {const_cast<Report*>(&report), sizeof(report)};
  ControlBuffer control;
  struct msghdr message = {};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes;
  message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
  auto* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
  memcpy(CMSG_DATA(header), fds.begin(), fds.size() * sizeof(int));
  return sendmsg(socket, &message, MSG_NOSIGNAL);
}

}  // namespace

void Reporter::send(const Report& report, kj::ArrayPtr<const int> fds) const {
  ssize_t n;
  do {
    n = fds.size() > 0 ? sendWithFds(socket, report, fds) : write(socket, &report, sizeof(report));
  } while (n < 0 && errno == EINTR);
  if (n < 0) _exit(EXIT_SETUP_FAILED);
}

void Reporter::waitAtGate() const {
  char word;
  ssize_t n;
  do {
    n = read(socket, &word, 1);
  } while (n < 0 && errno == EINTR);
  if (n != 1) _exit(EXIT_SETUP_FAILED);
}

bool openGate(int socket) {
  return ::send(socket, "g", 1, MSG_NOSIGNAL) == 1;
}

void Reporter::fail(const char* step, const char* object, int error, const char* detail,
                    int exitCode) const {
  Report report;
  report.error = error;
  copyText(report.step, step);
  copyText(report.object, object);
  copyText(report.detail, detail);
  send(report);
  _exit(exitCode);
}

void Reporter::refuse(Failure::Code code, const char* step, const char* object,
                      const char* reason) const {
  Report report;
  report.code = code;
  copyText(report.step, step);
  copyText(report.object, object);
  copyText(report.detail, reason);
  send(report);
  _exit(EXIT_SETUP_FAILED);
}

ReportReceiver::ReportReceiver(kj::UnixEventPort& port, int socket)
    : socket(socket), observer(port, socket, kj::UnixEventPort::FdObserver::OBSERVE_READ) {}

kj::Promise<kj::OneOf<kj::Own<ReportReceiver::Message>, ReportReceiver::End>>
ReportReceiver::next() {
  for (;;) {
    auto readable = observer.whenBecomesReadable();
    auto received = kj::heap<Message>();
    struct iovec data = {&received->report, sizeof(Report)};
    ControlBuffer control;
    struct msghdr message = {};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof(control.bytes);
    ssize_t n = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n > 0) {
      received->sender = 0;
      received->fds = takeControl(message, received->sender);
      KJ_REQUIRE(n == sizeof(Report), "A set-up child sent a message of the wrong size.", n);
      distrust(received->report);
      co_return kj::mv(received);
    }
    // The child may have gone without reading the word to go.
    if (n == 0 || errno == ECONNRESET) co_return End();
    KJ_REQUIRE(errno == EAGAIN || errno == EINTR, "Cannot read a set-up child's report.",
               strerror(errno));
    co_await readable;
  }
}

ReportSockets newReportSockets() {
  int pair[2];
  KJ_SYSCALL(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
  ReportSockets sockets{kj::AutoCloseFd(pair[0]), kj::AutoCloseFd(pair[1])};
  int on = 1;
  KJ_SYSCALL(setsockopt(sockets.ours, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)));
  return sockets;
}

KilledOnDrop::~KilledOnDrop() noexcept(false) {
  if (pidfd != nullptr) sys::sendSignal(pidfd, SIGKILL);
}

FailureValue failureOf(const Report& report) {
  if (report.error == 0) {
    return plainFailure(report.code, report.step, report.object, report.detail);
  }
  return systemFailure(report.step, report.object, report.error, report.detail);
}

}  // namespace belay::shim
