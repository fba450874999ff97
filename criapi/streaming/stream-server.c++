// See stream-server.h.
#include "criapi/streaming/stream-server.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "failpoint/failpoint.h"
#include "shim/packet.h"
#include "snapshot/failure.h"
#include "supervisor/config/ip-endpoint.h"
#include "supervisor/log.h"

namespace belay::criapi::streaming {

namespace {

using snapshot::Code;
using snapshot::fail;
using supervisor::LogLevel;

// A session reads the request's head from a client that may be slow, then asks; it has its own,
// shorter limit.
constexpr kj::Duration ASK_LIMIT = 60 * kj::SECONDS;

// Connections whose request has not come yet: whoever can connect can make some.
constexpr uint MAX_ASKING = 128;

// When descriptors or processes are short.
constexpr kj::Duration ACCEPT_AGAIN = 100 * kj::MILLISECONDS;

// A session is no more worth than any process of the machine, whatever belayd's own score is.
constexpr int OOM_SCORE_ADJ = 0;

// What session.capnp says.
constexpr int CLIENT_NUMBER = 0;
constexpr int CONTROL_NUMBER = 3;
constexpr int CERTIFICATE_NUMBER = 4;
constexpr int KEY_NUMBER = 5;

kj::AutoCloseFd openForReading(kj::StringPtr path, kj::StringPtr setting) {
  int fd = ::open(path.cStr(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    fail(Code::FAILED_PRECONDITION, "cannot open ", setting, " ", path, ": ", strerror(errno));
  }
  return kj::AutoCloseFd(fd);
}

kj::StringPtr pathOf(Kind kind) {
  switch (kind) {
    case Kind::EXEC:
      return "exec"_kj;
    case Kind::ATTACH:
      return "attach"_kj;
    case Kind::PORT_FORWARD:
      return "portforward"_kj;
  }
  KJ_UNREACHABLE;
}

void fillStreams(Grant::Streams::Builder grant, supervisor::StreamSet streams, bool tty) {
  grant.setStdin(streams.in);
  grant.setStdout(streams.out);
  grant.setStderr(streams.err);
  grant.setTty(tty);
}

}  // namespace

StreamServer::StreamServer(kj::UnixEventPort& port, kj::Timer& timer,
                           const kj::MonotonicClock& clock, snapshot::Children& children,
                           supervisor::Cgroups& cgroups, supervisor::Runtime& runtime,
                           const supervisor::Config& config, kj::Maybe<kj::AutoCloseFd> given)
    : port(port),
      timer(timer),
      children(children),
      cgroups(cgroups),
      runtime(runtime),
      config(config),
      tokens(clock),
      listener(given == nullptr ? listen() : kj::mv(KJ_ASSERT_NONNULL(given))),
      base(kj::str(usesTls() ? "https://" : "http://",
                   supervisor::IpEndpoint::ofSocket(listener).forLocalUrl())),
      tasks(*this) {
  warnUnlessSafe();
  countFormerSessions();
  tasks.add(acceptAll());
}

kj::AutoCloseFd StreamServer::listen() {
  auto endpoint = KJ_REQUIRE_NONNULL(supervisor::IpEndpoint::tryParse(config.streamingAddress));
  int fd;
  KJ_SYSCALL(fd = socket(endpoint.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  kj::AutoCloseFd own(fd);
  // Connections of a predecessor may still be closing.
  int on = 1;
  KJ_SYSCALL(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)));
  if (bind(fd, endpoint.address(), endpoint.size()) < 0 || ::listen(fd, SOMAXCONN) < 0) {
    fail(Code::FAILED_PRECONDITION, "cannot listen on streaming.address ", config.streamingAddress,
         ": ", strerror(errno));
  }
  return own;
}

void StreamServer::warnUnlessSafe() const {
  if (usesTls() || supervisor::IpEndpoint::ofSocket(listener).isLoopback()) return;
  supervisor::log(LogLevel::WARNING,
                  "exec, attach and port-forward are offered to other machines without TLS: set "
                  "streaming.tls_cert and streaming.tls_key",
                  "address", config.streamingAddress);
}

kj::String StreamServer::urlFor(StreamRequest request) {
  auto kind = kindOf(request);
  return kj::str(base, '/', pathOf(kind), '/', tokens.add(kj::mv(request)));
}

// --- connections

kj::Promise<void> StreamServer::acceptAll() {
  kj::UnixEventPort::FdObserver observer(port, listener,
                                         kj::UnixEventPort::FdObserver::OBSERVE_READ);
  for (;;) {
    co_await whenThereIsRoom();
    // Asked for before accepting: the observer tells of edges only.
    auto readable = observer.whenBecomesReadable();
    int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd >= 0) {
      tasks.add(serve(kj::AutoCloseFd(fd)));
    } else if (errno == EAGAIN) {
      co_await readable;
    } else if (errno != ECONNABORTED && errno != EINTR) {
      supervisor::log(LogLevel::WARNING, "cannot accept a streaming connection", "reason",
                      strerror(errno));
      co_await timer.afterDelay(ACCEPT_AGAIN);
    }
  }
}

// Whoever comes beyond the limits waits in the kernel's queue.
kj::Promise<void> StreamServer::whenThereIsRoom() {
  while (sessions >= config.streamingMaxSessions || asking >= MAX_ASKING) {
    auto pair = kj::newPromiseAndFulfiller<void>();
    roomWaiter = kj::mv(pair.fulfiller);
    co_await pair.promise;
  }
}

void StreamServer::madeRoom() {
  KJ_IF_MAYBE (waiter, roomWaiter) {
    (*waiter)->fulfill();
    roomWaiter = nullptr;
  }
}

kj::Promise<void> StreamServer::serve(kj::AutoCloseFd client) {
  sessions++;
  KJ_DEFER({
    sessions--;
    madeRoom();
  });
  auto sockets = shim::makePacketPair();
  auto child = spawn(client, sockets.theirs);
  client = nullptr;
  sockets.theirs = nullptr;
  co_await answerInTime(kj::mv(sockets.ours));
  auto status = co_await child->wait();
  if (!status.success()) {
    supervisor::log(LogLevel::WARNING, "a streaming session failed", "pid", child->pid(), "status",
                    status.describe());
  }
}

kj::Promise<void> StreamServer::answerInTime(kj::AutoCloseFd control) {
  asking++;
  KJ_DEFER({
    asking--;
    madeRoom();
    answered();
  });
  co_await answer(kj::mv(control)).exclusiveJoin(timer.afterDelay(ASK_LIMIT));
}

// Sessions outlive belayd, and count as long as they live.
void StreamServer::countFormerSessions() {
  for (pid_t pid : cgroups.sessions()) {
    int fd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
    if (fd >= 0) tasks.add(countUntilExit(kj::AutoCloseFd(fd)));
  }
}

kj::Promise<void> StreamServer::countUntilExit(kj::AutoCloseFd pidfd) {
  sessions++;
  KJ_DEFER({
    sessions--;
    madeRoom();
  });
  kj::UnixEventPort::FdObserver exit(port, pidfd, kj::UnixEventPort::FdObserver::OBSERVE_READ);
  co_await exit.whenBecomesReadable();
}

kj::Own<snapshot::Child> StreamServer::spawn(int client, int control) {
  using Descriptor = snapshot::Command::Descriptor;
  snapshot::Command command;
  command.path = kj::str(config.sessionPath);
  command.argv = kj::arr(kj::str("belay-session"), kj::str("--idle-timeout"),
                         kj::str(config.streamingIdleTimeout / kj::SECONDS));
  command.descriptors.add(Descriptor{CLIENT_NUMBER, client});
  command.descriptors.add(Descriptor{STDERR_FILENO, STDERR_FILENO});
  command.descriptors.add(Descriptor{CONTROL_NUMBER, control});
  kj::AutoCloseFd certificate, key;
  if (usesTls()) {
    certificate = openForReading(config.streamingTlsCert, "streaming.tls_cert");
    key = openForReading(config.streamingTlsKey, "streaming.tls_key");
    command.descriptors.add(Descriptor{CERTIFICATE_NUMBER, certificate});
    command.descriptors.add(Descriptor{KEY_NUMBER, key});
  }
  auto home = cgroups.sessionsHome();
  for (auto& tasks : home.tasks)
    command.cgroupTasks.add(tasks);
  if (home.folder.get() >= 0) command.cgroupFolder = home.folder.get();
  KJ_IF_MAYBE (failpoints, failpoint::environmentFor("session.")) {
    command.env = kj::arr(kj::mv(*failpoints));
  }
  command.group = snapshot::Command::Group::SESSION;
  command.oomScoreAdj = OOM_SCORE_ADJ;
  return children.spawn(command, snapshot::Child::OnDrop::LEAVE);
}

// --- what a token is good for

kj::Promise<void> StreamServer::answer(kj::AutoCloseFd control) {
  int number = control;
  shim::PacketSocket session(port, kj::mv(control), MAX_PACKET);
  notAsked.insert(number);
  KJ_DEFER(notAsked.eraseMatch(number));
  auto received = co_await session.receive();
  notAsked.eraseMatch(number);
  KJ_IF_MAYBE (packet, received) {
    auto redeem = (*packet)->as<Redeem>();
    capnp::MallocMessageBuilder message;
    auto grant = message.initRoot<Grant>();
    kj::Maybe<kj::AutoCloseFd> socket;
    KJ_IF_MAYBE (request, tokens.redeem(redeem.getKind(), redeem.getToken())) {
      co_await open(*request, grant, socket).catch_([&grant](kj::Exception&& exception) {
        grant.setRefused(snapshot::messageOf(exception));
      });
    } else {
      grant.setUnknown();
    }
    kj::Array<kj::AutoCloseFd> descriptors;
    KJ_IF_MAYBE (fd, socket) descriptors = kj::arr(kj::mv(*fd));
    co_await session.send(message, kj::mv(descriptors));
  }
}

// --- one belayd and the next

kj::Promise<void> StreamServer::whenAnswered() {
  while (asking > notAsked.size()) {
    auto pair = kj::newPromiseAndFulfiller<void>();
    answerWaiter = kj::mv(pair.fulfiller);
    co_await pair.promise;
  }
}

void StreamServer::answered() {
  KJ_IF_MAYBE (waiter, answerWaiter) {
    (*waiter)->fulfill();
    answerWaiter = nullptr;
  }
}

void StreamServer::leave(StreamHandover::Builder handover) {
  describe(handover);
  // What these sessions will have sent stays in the kernel until it is asked for.
  for (int number : notAsked) {
    int copy;
    KJ_SYSCALL(copy = dup(number));
    left.add(kj::AutoCloseFd(copy));
  }
  auto list = handover.initAsking(left.size());
  for (size_t i = 0; i < left.size(); ++i)
    list.set(i, left[i].get());
  KJ_SYSCALL(fcntl(listener, F_SETFD, 0));
  tasks.clear();
}

void StreamServer::closeWhatWasLeft() {
  left.clear();
  listener = nullptr;
}

void StreamServer::takeOver(StreamHandover::Reader handover) {
  tokens.takeOver(handover);
  for (int number : handover.getAsking()) {
    KJ_SYSCALL(fcntl(number, F_SETFD, FD_CLOEXEC), number);
    tasks.add(answerInTime(kj::AutoCloseFd(number)));
  }
}

kj::Promise<void> StreamServer::open(const StreamRequest& request, Grant::Builder grant,
                                     kj::Maybe<kj::AutoCloseFd>& socket) {
  KJ_SWITCH_ONEOF(request) {
    KJ_CASE_ONEOF(exec, ExecRequest) {
      socket = co_await runtime.exec(
          kj::str(exec.containerId), KJ_MAP(word, exec.command) { return kj::str(word); }, exec.tty,
          exec.streams);
      auto streams = grant.initTerminal();
      fillStreams(streams, exec.streams, exec.tty);
      streams.setHasExitCode(true);
    }
    KJ_CASE_ONEOF(attach, AttachRequest) {
      socket = co_await runtime.attach(kj::str(attach.containerId), attach.streams);
      fillStreams(grant.initTerminal(), attach.streams, attach.tty);
    }
    KJ_CASE_ONEOF(forward, PortForwardRequest) {
      socket = co_await runtime.portForward(kj::str(forward.podId));
      auto ports = grant.initPortForward(forward.ports.size());
      for (size_t i = 0; i < forward.ports.size(); ++i)
        ports.set(i, forward.ports[i]);
    }
  }
}

// Never the acceptor: it ends with this object.
void StreamServer::taskFailed(kj::Exception&& exception) {
  supervisor::log(LogLevel::WARNING, "a streaming connection could not be served", "reason",
                  snapshot::messageOf(exception));
}

}  // namespace belay::criapi::streaming
