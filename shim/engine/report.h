// How the engine's children tell what became of them: fixed-size messages over a SOCK_SEQPACKET
// socket, which for a container's first process is its gate as well.
#pragma once

#include <kj/array.h>
#include <kj/async-unix.h>
#include <kj/io.h>
#include <kj/one-of.h>

#include "shim/engine/failure-value.h"

namespace belay::shim {

// One message. Plain memory, so that a child sends it without allocating.
struct Report {
  // Supplementary groups that a process may have here; the kernel's limit is 65536.
  static constexpr size_t MAX_GROUPS = 1024;

  enum class Kind : uint32_t {
    FAILED,  // Something could not be done; the sender exits.
    MADE,    // Stage A has made stage B; its pidfd comes along, then what `with...` say, in order.
    READY,   // Stage B has everything but the word to go.
    LISTENER,  // Stage B has loaded a filter with a listener, and waits until that is taken.
  };
  Kind kind = Kind::FAILED;

  // Of FAILED. The code counts if error is 0.
  int error = 0;
  Failure::Code code = Failure::Code::INTERNAL;
  char step[96] = {};
  char object[512] = {};
  char detail[256] = {};

  // Of LISTENER: the descriptor's number in its sender.
  int listener = -1;

  // Of MADE.
  bool withTerminal = false;    // the pty's master
  bool withConnection = false;  // to who is to get the filter's listener
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
  uint32_t groupCount = 0;
  gid_t groups[MAX_GROUPS];
};

// The child's side. Async-signal-safe.
class Reporter {
 public:
  // How a child ends that could not do its part, or whose parent has gone. Nobody but the reaper
  // sees it: the failure is told by its report.
  static constexpr int EXIT_SETUP_FAILED = 1;

  explicit Reporter(int socket) : socket(socket) {}

  // Tells that `step` failed on `object` (either may be cut), and exits.
  [[noreturn]] void fail(const char* step, const char* object, int error, const char* detail = "",
                         int exitCode = EXIT_SETUP_FAILED) const;

  // The same for a reason that is not a system call's.
  [[noreturn]] void refuse(Failure::Code code, const char* step, const char* object,
                           const char* reason) const;

  // Sends a message, with descriptors if there are any. Ends the process if nobody is there to read
  // it: whoever wanted this child has gone. Without descriptors it is a plain write(2), which the
  // container's own system call filter, in force by then, is most likely to allow.
  void send(const Report& report, kj::ArrayPtr<const int> fds = nullptr) const;

  // Waits for the word to go, by a plain read(2). Ends the process if it will never come.
  void waitAtGate() const;

  int getSocket() const { return socket; }

 private:
  int socket;
};

// The parent's side.
class ReportReceiver {
 public:
  struct Message {
    Report report;

    // Says the kernel. A child in a pid namespace shared with others may have been taken over, and
    // its socket with it: who the new process is, only stage A may tell.
    pid_t sender;

    kj::Array<kj::AutoCloseFd> fds;
  };
  struct End {};

  // `socket` is borrowed and must outlive this.
  ReportReceiver(kj::UnixEventPort& port, int socket);

  // The next message, or End once every process that held the other end has closed it (by execve,
  // or because it died).
  kj::Promise<kj::OneOf<kj::Own<Message>, End>> next();

 private:
  int socket;
  kj::UnixEventPort::FdObserver observer;
};

// A pair of connected sockets: ours, which tells who sent a message, and the children's. Both
// close-on-exec.
struct ReportSockets {
  kj::AutoCloseFd ours;
  kj::AutoCloseFd theirs;
};
ReportSockets newReportSockets();

// Says the word to go to a child that waits at its gate. False if it has gone.
bool openGate(int socket);

// Kills a child that is not wanted any more when it goes out of scope; nothing once `pidfd` is
// null.
struct KilledOnDrop {
  kj::AutoCloseFd pidfd;

  KilledOnDrop() = default;
  ~KilledOnDrop() noexcept(false);
  KJ_DISALLOW_COPY(KilledOnDrop);
};

// What a FAILED message says.
FailureValue failureOf(const Report& report);

}  // namespace belay::shim
