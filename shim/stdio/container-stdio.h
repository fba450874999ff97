// All of a container's standard streams: FIFOs or terminal, spools, log. Everything lies in the
// container's directory on tmpfs, so that a successor of a killed shim can go on from it.
#pragma once

#include <kj/async-unix.h>
#include <kj/io.h>
#include <kj/one-of.h>
#include <kj/timer.h>

#include "shim/engine/failure-value.h"
#include "shim/engine/terminal-size.h"
#include "shim/stdio/container-log.h"
#include "shim/stdio/log-disk.h"
#include "shim/stdio/output-reader.h"
#include "shim/stdio/output-tap.h"
#include "shim/stdio/spool.h"
#include "shim/stdio/work.h"

namespace belay::shim {

class ContainerStdio final {
 public:
  struct Options {
    kj::StringPtr logPath;
    size_t logMaxLineBytes;
    bool wantsInput;
    bool terminal;
    // The end of the first client's input is the end of the container's.
    bool inputOnce;
  };

  // Makes FIFOs (none for a terminal) and spools in the directory. `dirFd`, `disk` and the others
  // outlive this object. Opens no log yet.
  ContainerStdio(kj::UnixEventPort& port, kj::Timer& timer, LogDisk& disk, int dirFd,
                 Options options);
  ~ContainerStdio() noexcept(false);
  KJ_DISALLOW_COPY_AND_MOVE(ContainerStdio);

  // The container's own ends; all null for a terminal. Without input it is /dev/null.
  struct Ends {
    kj::AutoCloseFd in, out, err;
  };
  Ends openContainerEnds();

  // What a successor gets from whoever held duplicates of descriptors(); what is missing is null.
  struct Inherited {
    kj::AutoCloseFd in, out, err, pty;
  };
  // For a successor of the one that made the files: goes on with streams and log where that one
  // stopped. Throws if the files are not there, or not understood. What is missing of the
  // descriptors is opened again, if it can be: not a terminal, whose output has ended without it,
  // and not the input of an inputOnce.
  static kj::Own<ContainerStdio> takeOver(kj::UnixEventPort& port, kj::Timer& timer, LogDisk& disk,
                                          int dirFd, Options options);
  kj::Promise<void> resume(Inherited inherited);

  // Makes the container's user the owner of the FIFOs. Not for a terminal.
  void giveTo(uid_t uid, gid_t gid);

  // Opens the log and begins to read. Comes once, after the container's ends were opened.
  // `ptyMaster` is null without a terminal.
  kj::Promise<kj::Maybe<FailureValue>> start(kj::AutoCloseFd ptyMaster);

  // Takes what is still in the FIFOs and ends the log: to be called when no process of the
  // container is left. Resolves when the log is finished.
  kj::Promise<void> finish();

  kj::Promise<kj::Maybe<FailureValue>> reopenLog() { return log->reopen(); }

  // --- for attached clients

  bool hasInput() const { return wantsInput; }
  bool hasTerminal() const { return terminal; }
  // Its input has had its one client (Options::inputOnce).
  bool inputHasEnded() const { return wantsInput && !terminal && input.get() < 0; }

  // Adds a client of a stream that the container has, from now on. Nothing if output is no longer
  // read.
  kj::Maybe<kj::Own<OutputTap>> tap(LogStream stream);

  // The same with a tap that is there; it is closed if output is no longer read.
  void addTap(LogStream stream, kj::Own<OutputTap> tap);

  // Where one client's input goes, and what must live as long as the client.
  struct Input {
    kj::AutoCloseFd writeEnd;
    kj::Promise<void> pump;
    int readEnd = -1;  // what the pump reads, as long as it does; only of a terminal
  };
  // hasInput() and not inputHasEnded(). Throws if the container has gone.
  Input openInput(WorkCounter& work);
  // The pump of a terminal's client whose pipe another one has read from before.
  kj::Promise<void> resumeInput(WorkCounter& work, kj::AutoCloseFd readEnd);

  // A client will send nothing more and has closed what openInput() gave. True if that was the
  // first one of an inputOnce: this object has let go of the input, too, and everybody else who
  // holds a duplicate must.
  bool clientInputEnded();

  // The terminal's, if there is one. The processes in its foreground get SIGWINCH.
  void resize(TerminalSize size);

  // ---

  // What must not die with this process, by name ("stdout", "stderr", "stdin", "pty"); borrowed.
  // Empty once finished.
  struct Descriptor {
    kj::StringPtr name;
    int fd;
  };
  kj::Vector<Descriptor> descriptors() const;

  // Why takeOver() could not go on with the files in the directory, if so.
  static kj::Maybe<kj::StringPtr> findFault(int dirFd);

  // Removes what the constructor made.
  static void removeFiles(int dirFd);

  // For takeOver().
  struct Left {
    Spool out;
    kj::Maybe<Spool> err;
    LogPositionFile positionFile;
    LogPosition position;
  };
  ContainerStdio(kj::UnixEventPort& port, kj::Timer& timer, LogDisk& disk, int dirFd,
                 Options options, Left left);

 private:
  kj::Own<OutputReader> read(kj::AutoCloseFd fd, LogStream stream);

  kj::UnixEventPort& port;
  kj::Timer& timer;
  int dirFd;
  bool wantsInput;
  bool terminal;
  bool inputOnce;
  Spool out;
  kj::Maybe<Spool> err;
  LogPosition left;  // by a predecessor
  bool started = false;
  kj::Own<ContainerLog> log;
  kj::AutoCloseFd input;
  kj::Maybe<kj::Own<OutputReader>> outReader;
  kj::Maybe<kj::Own<OutputReader>> errReader;
};

}  // namespace belay::shim
